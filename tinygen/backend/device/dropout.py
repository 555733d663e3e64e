"""Dropout by kernels/dropout.cu: the mask is drawn inside, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.backend.device.launching import DTYPES, blocks, contiguous, like, type_of
from tinygen.backend.device.random import stream_state
from tinygen.backend.device.registry import serves
from tinygen.backend.device.rungs import rung_of
from tinygen.backend.launch import Kernel, launch

Array = Any

THREADS = 256
"""Each of which draws eight uniforms."""


def _fits(arrays: Sequence[Array], *_: Any) -> bool:
    return bool(arrays[0].size)


@serves("dropout", dtypes=DTYPES, fits=_fits)
def dropout(backend: Any, x: Array, p: float, key: int, block: int) -> Array:
    """x / (1 - p) where the uniform number at its place of the stream is at least p, else 0."""
    x = contiguous(backend, x)
    if backend.address(x) % 16:
        x = x.copy()
    y = like(backend, x)
    scale = x.dtype.type(1 / (1 - p))
    args = [y, None, x, stream_state(backend, key, block), np.int64(x.size)]
    naive = rung_of(backend, "dropout") == "naive"
    kernel = Kernel("dropout.cu", "dropout_naive" if naive else "dropout", TYPE=type_of(x))
    grid = (blocks(x.size, THREADS if naive else 8 * THREADS),)
    launch(backend, kernel, grid, (THREADS,), [*args, np.float32(p), np.float32(scale)])
    return y
