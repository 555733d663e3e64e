"""Rotary position embedding by kernels/rope.cu."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygen.backend.device.launching import (
    DTYPES,
    blocks,
    contiguous,
    has_elements,
    like,
    persistent,
    type_of,
    vector,
)
from tinygen.backend.device.registry import serves
from tinygen.backend.device.rungs import rung_of
from tinygen.backend.launch import Kernel, launch

Array = Any


def _fits(arrays: Sequence[Array], params: Mapping[str, Any]) -> bool:
    """One angle for each token and pair; tables with more axes are left to plain ops."""
    x, cos, *_ = arrays
    return has_elements(arrays) and cos.shape == (x.shape[-2], x.shape[-1] // 2)


@serves("rotate_pairs", dtypes=DTYPES, fits=_fits)
def rotate_pairs(
    backend: Any, x: Array, cos: Array, sin: Array, interleaved: bool, *, back: bool = False
) -> Array:
    """x (..., T, D) with each pair of features turned by its angle, or back; cos, sin (T, D/2)."""
    x, cos, sin = (contiguous(backend, a) for a in (x, cos, sin))
    y = like(backend, x)
    (tokens, half), rows = cos.shape, x.size // x.shape[-1]
    width = vector(backend, half, x, y, cos, sin)
    fixed = {"VECTOR": width, "INTERLEAVED": int(interleaved)}
    if rung_of(backend, "rope") == "naive":
        kernel = Kernel("rope.cu", "rope_naive", TYPE=type_of(x), **fixed)
        grid = blocks(rows * half, 256)
    else:
        kernel = Kernel("rope.cu", "rope_rotate", TYPE=type_of(x), **fixed)
        grid = persistent(backend, blocks(rows * half // width, 256))
    args = [y, x, cos, sin, np.int64(rows), np.int32(tokens), np.int32(half)]
    launch(backend, kernel, (grid,), (256,), [*args, np.float32(-1 if back else 1)])
    return y
