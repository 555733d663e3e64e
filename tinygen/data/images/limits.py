"""How much a file may unpack to, whatever it says about itself."""

from typing import Protocol

MAX_BYTES = 1 << 32
"""Of the pixels of one set, and of everything read from one archive: 4 GiB."""

MAX_PIXELS = 1 << 26
"""Of one picture: 67 million, twice a large camera's."""

MAX_FILE = 1 << 28
"""Bytes of one compressed picture: 256 MiB."""

DEFLATE_RATIO = 1032
"""No deflated byte stands for more bytes than this: what claims more is damaged, or lies."""

_CHUNK = 1 << 20


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_at_most(source: Readable, size: int) -> bytes:
    """`size` bytes or all there are, in steps: no memory is taken for what does not come."""
    parts = []
    while size > 0 and (part := source.read(min(size, _CHUNK))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
