"""Rows of a table and the gradient of the table, by kernels/embedding.cu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.backend.device.launching import (
    DTYPES,
    blocks,
    contiguous,
    persistent,
    type_of,
    vector,
)
from tinygen.backend.device.registry import serves
from tinygen.backend.device.rungs import rung_of
from tinygen.backend.launch import Kernel, launch

Array = Any

CHUNK = 32
"""Positions that a block adds up, as in the kernel."""


def _fits(arrays: Sequence[Array], *_: Any) -> bool:
    return all(a.size for a in arrays)


@serves("embedding_forward", dtypes=DTYPES, fits=_fits)
def embedding_forward(backend: Any, weight: Array, ids: Array) -> Array:
    """weight (rows, width), ids (N,) integers in [0, rows) -> weight[ids] (N, width)."""
    weight, ids = contiguous(backend, weight), contiguous(backend, ids.astype(np.int64))
    n, width = len(ids), weight.shape[1]
    y = backend.empty((n, width), weight.dtype)
    args = [y, weight, ids, np.int64(n), np.int32(width)]
    fixed = {"TYPE": type_of(weight), "VECTOR": vector(backend, width, weight, y)}
    if rung_of(backend, "embedding") == "naive":
        kernel = Kernel("embedding.cu", "embedding_naive", **fixed)
        launch(backend, kernel, (blocks(y.size, 256),), (256,), args)
    else:
        kernel = Kernel("embedding.cu", "embedding_forward", **fixed)
        launch(backend, kernel, (persistent(backend, blocks(n, 8)),), (32, 8), args)
    return y


@serves("embedding_backward", dtypes=DTYPES, fits=_fits)
def embedding_backward(backend: Any, g: Array, ids: Array, rows: int) -> Array:
    """g (N, width), ids (N,) integers in [0, rows) -> (rows, width): row i sums g[ids == i]."""
    g, ids = contiguous(backend, g), contiguous(backend, ids.astype(np.int64))
    n, width = g.shape
    if rung_of(backend, "embedding") == "naive":
        dweight = backend.empty((rows, width), g.dtype)
        kernel = Kernel("embedding.cu", "embedding_backward_naive", TYPE=type_of(g), VECTOR=1)
        args = [dweight, g, ids, np.int64(n), np.int32(rows), np.int32(width)]
        launch(backend, kernel, (blocks(dweight.size, 256),), (256,), args)
        return dweight
    order = backend.xp.argsort(ids, stable=True).astype(np.int64)
    dweight = backend.xp.zeros((rows, width), g.dtype)
    chunks = blocks(n, CHUNK)
    head, tail = (backend.empty((chunks, width), np.float32) for _ in range(2))
    together = vector(backend, width, g, dweight)
    fixed = {"TYPE": type_of(g), "VECTOR": together}
    # Chunks may be more than a grid is high, and columns are few: x runs over the chunks.
    grid, block = (chunks, blocks(width, 32 * together)), (32,)
    sizes = [ids, order, np.int64(n), np.int32(width)]
    kernel = Kernel("embedding.cu", "embedding_backward", **fixed)
    launch(backend, kernel, grid, block, [dweight, head, tail, g, *sizes])
    kernel = Kernel("embedding.cu", "embedding_backward_join", **fixed)
    launch(backend, kernel, grid, block, [dweight, head, tail, *sizes])
    return dweight
