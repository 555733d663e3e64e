"""Characters as bytes: a range of code points as sequences of byte ranges (Thompson's construction
as in RE2 and Rust's utf8-ranges).

    U+0080 ... U+FFFF  ->  [C2-DF][80-BF],  [E0][A0-BF][80-BF],  [E1-EC][80-BF][80-BF], ...
"""

from __future__ import annotations

from collections.abc import Iterator

ByteRanges = tuple[tuple[int, int], ...]

_SPANS = ((0, 0x7F), (0x80, 0x7FF), (0x800, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF))
"""The code points of one, two, three and four bytes, without the surrogates."""


def byte_ranges(first: int, last: int) -> Iterator[ByteRanges]:
    """The encodings of the characters first ... last: each sequence stands for all combinations of
    bytes in its ranges. Surrogates, which have none, are left out."""
    for low, high in _SPANS:
        if max(first, low) <= min(last, high):
            yield from _of_one_length(max(first, low), min(last, high))


def _of_one_length(first: int, last: int) -> Iterator[ByteRanges]:
    """Where a continuation byte differs between the ends, it must run through all its values: cut
    off what does not."""
    for bits in (6, 12, 18):
        low = (1 << bits) - 1
        if first >> bits != last >> bits:
            if first & low:
                yield from _of_one_length(first, first | low)
                yield from _of_one_length((first | low) + 1, last)
                return
            if last & low != low:
                yield from _of_one_length(first, (last & ~low) - 1)
                yield from _of_one_length(last & ~low, last)
                return
    yield tuple(zip(chr(first).encode(), chr(last).encode(), strict=True))
