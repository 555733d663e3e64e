"""Arrays with guard zones: global memory as the simulator gives it out."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

ALIGNMENT = 256  # as cudaMalloc
ZONE = 4096
"""Bytes before and behind every array that belong to none: an access there is out of bounds."""
MARK = 0xFB

_guarded: dict[int, tuple[int, int]] = {}
"""First byte and size of the array in each block of memory, by the block's id."""


def empty(shape: tuple[int, ...] | int, dtype: Any = np.uint8) -> np.ndarray[Any, Any]:
    """A new array, 256-byte aligned, between guard zones; every byte is 0xFF (NaN as a float)."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    block = np.full(size + 2 * ZONE + ALIGNMENT, MARK, np.uint8)
    first = ZONE + -(block.ctypes.data + ZONE) % ALIGNMENT
    block[first : first + size] = 0xFF
    _guarded[id(block)] = first, size
    weakref.finalize(block, _guarded.pop, id(block), None)
    return np.ndarray(shape, dtype, block, first)


def overrun(array: np.ndarray[Any, Any]) -> str:
    """What was written to the guard zones around `array`, in words; empty if nothing was.

    The zones are made whole again. Arrays that `empty` did not make have none.
    """
    block = array.base
    while isinstance(block, np.ndarray) and block.base is not None:
        block = block.base
    if not isinstance(block, np.ndarray) or id(block) not in _guarded:
        return ""
    first, size = _guarded[id(block)]
    before, behind = block[first - ZONE : first], block[first + size : first + size + ZONE]
    told = []
    for zone, where in ((before, "before its first byte"), (behind, "behind its last byte")):
        touched = int(np.count_nonzero(zone != MARK))
        if touched:
            told.append(f"{touched} bytes {where}")
            zone[:] = MARK
    return " and ".join(told)
