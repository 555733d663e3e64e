"""How much a file may unpack to, whatever it says about itself."""

MAX_BYTES = 1 << 32
"""Of the pixels of one set, and of everything read from one archive: 4 GiB."""

MAX_PIXELS = 1 << 26
"""Of one picture: 67 million, twice a large camera's."""

MAX_FILE = 1 << 28
"""Bytes of one compressed picture."""
