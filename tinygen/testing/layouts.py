"""The same values in other places of memory: what a kernel that assumes contiguity gets wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def c_order(x: Array) -> Array:
    return np.array(x, order="C")


def f_order(x: Array) -> Array:
    return np.array(x, order="F")


def strided(x: Array) -> Array:
    """Every second element of a larger array; the gaps hold NaN."""
    if x.ndim == 0:
        return c_order(x)
    store = _filled((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    view = store[..., ::2]
    view[...] = x
    return view


def reversed_(x: Array) -> Array:
    """Negative strides along every axis."""
    backwards = (slice(None, None, -1),) * x.ndim or ...
    store = np.array(x[backwards], order="C")
    return store[backwards]


def padded(x: Array) -> Array:
    """An inner block of a larger array, with NaN around it."""
    store = _filled(tuple(n + 2 for n in x.shape), x.dtype)
    view = store[(slice(1, -1),) * x.ndim or ...]
    view[...] = x
    return view


def misaligned(x: Array) -> Array:
    """An address that is no multiple of the element size."""
    store = np.zeros(x.nbytes + 1, np.uint8)
    view = store[1 : 1 + x.nbytes].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def read_only(x: Array) -> Array:
    view = c_order(x)
    view.flags.writeable = False
    return view


def broadcast(x: Array) -> Array:
    """Stride 0: the first index of the first axis, repeated. It changes values, so it is no layout
    of the same array; an axis of length 0 stays as it is."""
    if x.ndim == 0 or x.shape[0] == 0:
        return read_only(x)
    return np.broadcast_to(x[:1].copy(), x.shape)


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "C": c_order,
    "F": f_order,
    "strided": strided,
    "reversed": reversed_,
    "padded": padded,
    "misaligned": misaligned,
    "read-only": read_only,
}


def _filled(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    return np.full(shape, np.nan if dtype.kind == "f" else 0, dtype)
