"""Dropout by kernels/dropout.cu: the mask is drawn inside, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.backend.device.launching import DTYPES, blocks, contiguous, like, type_of
from tinygen.backend.device.random import stream_state
from tinygen.backend.device.registry import serves
from tinygen.backend.launch import Kernel, launch

Array = Any

ELEMENTS = 8 * 256
"""Of a block: eight uniforms a thread."""


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
    kernel = Kernel("dropout.cu", "dropout", TYPE=type_of(x))
    grid = (blocks(x.size, ELEMENTS),)
    launch(backend, kernel, grid, (256,), [*args, np.float32(p), np.float32(scale)])
    return y
