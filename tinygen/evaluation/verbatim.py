"""How much of a text is copied: the longest run of bytes of it that stands in another text.

A model of text that writes long runs of its training text repeats it rather than knows it. Text of
the same kind that it has not seen shares runs with the training text too, phrases and names; so the
figure of a sample means something only beside that of held-out text of the same length (Carlini et
al. 2021, arXiv:2012.07805, section 3, look for such runs).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygen.errors import DtypeError

BASE = 0x9E3779B97F4A7C15
"""An odd number, which has an inverse modulo 2^64, and whose powers mix all bits."""
INVERSE = pow(BASE, -1, 1 << 64)


class Overlap(NamedTuple):
    """`length` bytes of a text, from byte `start` on, that stand in the other text too."""

    start: int
    length: int


def longest_overlap(text: bytes, other: bytes) -> Overlap:
    """The first of the longest runs of bytes that `text` and `other` have in common.

    If a run of n bytes is common, so is one of n - 1: so the length is found by bisection, and for
    each length all windows are compared by a 64-bit hash that is made from left to right (Karp and
    Rabin 1987). What the hashes call equal is compared byte by byte, so that the answer is exact;
    O((n + m) log n).
    """
    if not isinstance(text, bytes) or not isinstance(other, bytes):
        raise DtypeError("longest_overlap takes bytes: encode a text first, text.encode().")
    low, high = 0, min(len(text), len(other))  # a common run of `low` bytes is known
    found = Overlap(0, 0)
    prefixes = _prefixes(text), _prefixes(other)
    while low < high:
        length = (low + high + 1) // 2
        place = _common(text, other, prefixes, length)
        if place is None:
            high = length - 1
        else:
            low, found = length, Overlap(place, length)
    return found


def _common(
    text: bytes, other: bytes, prefixes: tuple[NDArray[np.uint64], ...], length: int
) -> int | None:
    """The first place in `text` whose next `length` bytes stand in `other`."""
    mine, theirs = (_windows(prefix, length) for prefix in prefixes)
    for place in np.flatnonzero(np.isin(mine, theirs)).tolist():
        if text[place : place + length] in other:
            return int(place)
    return None


def _prefixes(text: bytes) -> NDArray[np.uint64]:
    """s[i] = sum over j < i of (text[j] + 1) BASE^j, modulo 2^64."""
    terms = np.frombuffer(text, np.uint8).astype(np.uint64) + np.uint64(1)
    sums = np.cumsum(terms * _powers(BASE, len(text)), dtype=np.uint64)
    return np.concatenate([np.zeros(1, np.uint64), sums])


def _windows(prefixes: NDArray[np.uint64], length: int) -> NDArray[np.uint64]:
    """The hash of each window of that length: its part of the sum, brought to place 0."""
    sums = prefixes[length:] - prefixes[:-length]
    return sums * _powers(INVERSE, len(sums))


def _powers(base: int, n: int) -> NDArray[np.uint64]:
    """base^0, base^1, ... modulo 2^64: n of them."""
    factors = np.full(n, base, np.uint64)
    factors[:1] = 1
    return np.cumprod(factors, dtype=np.uint64)
