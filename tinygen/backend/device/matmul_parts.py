"""float32 factors as three bfloat16 matrices each, for wgmma (kernels/matmul_parts.cu)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.backend.device.launching import blocks, persistent
from tinygen.backend.device.matmul_rungs import Matrix, aligned_at
from tinygen.backend.launch import Kernel, launch

Array = Any

PARTS = 3
"""bfloat16 numbers that add up to a float32."""
THREADS = 256
ROW = 8
"""Elements that rows of the parts are multiples of apart: 16 bytes, as TMA wants them."""


def in_parts(backend: Any, x: Matrix) -> Matrix:
    """x (batch, rows, columns) as (3 batch, rows, columns) of bfloat16, the largest parts first, as
    it lies: lines of x are lines of its parts. The bits are uint16, which every NumPy has."""
    lines = x.array.swapaxes(1, 2) if x.transposed else x.array
    batch, count, length = lines.shape
    if batch > 1 and x.batch != count * x.row:
        lines = backend.xp.ascontiguousarray(lines)
        x = x._replace(array=lines, row=length, batch=count * length)
    padded = blocks(length, ROW) * ROW
    parts = backend.empty((PARTS * batch, count, padded), np.uint16)
    vector = 4 if length % 4 == 0 and aligned_at(backend, x, 4) else 1
    kernel = Kernel("matmul_parts.cu", "matmul_parts", VECTOR=vector)
    grid = persistent(backend, blocks(batch * count * blocks(length, vector), THREADS), THREADS)
    sizes = [np.int64(batch * count), np.int32(length), np.int64(x.row), np.int32(padded)]
    launch(backend, kernel, (grid,), (THREADS,), [parts, backend.span(lines), *sizes])
    made = parts[..., :length]
    return Matrix(
        made.swapaxes(1, 2) if x.transposed else made, x.transposed, padded, count * padded
    )
