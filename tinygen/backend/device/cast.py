"""Copies and casts by kernels/cast.cu."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.backend.device.launching import (
    blocks,
    contiguous,
    has_type,
    persistent,
    transpose,
    transposed,
    type_of,
)
from tinygen.backend.device.rungs import rung_of
from tinygen.backend.launch import Kernel, launch

Array = Any

THREADS, WIDTH = 256, 4


def copy(backend: Any, x: Array) -> Array:
    """x in memory of its own, contiguous."""
    return x.copy() if x.flags.c_contiguous else contiguous(backend, x)


def astype(backend: Any, x: Array, dtype: Any) -> Array:
    """x as `dtype` in memory of its own, from and to floats of 16 and 32 bits by a kernel."""
    dtype = np.dtype(dtype)
    if not (
        has_type(x.dtype) and has_type(dtype) and x.size and backend.kernels and backend.launches
    ):
        return x.astype(dtype)
    if not x.flags.c_contiguous:
        matrices = transposed(x)
        if matrices is None:
            return x.astype(dtype)
        return transpose(backend, x, matrices, dtype)
    y = backend.empty(x.shape, dtype)
    aligned = all(backend.address(a) % (WIDTH * a.itemsize) == 0 for a in (x, y))
    width = WIDTH if aligned else 1
    fixed = {"IN": type_of(x), "OUT": type_of(y), "VECTOR": width}
    if rung_of(backend, "cast") == "naive":
        kernel, grid = Kernel("cast.cu", "cast_naive", **fixed), blocks(x.size, THREADS)
    else:
        kernel = Kernel("cast.cu", "cast", **fixed)
        grid = persistent(backend, blocks(x.size, THREADS * width))
    launch(backend, kernel, (grid,), (THREADS,), [y, x, np.int64(x.size)])
    return y
