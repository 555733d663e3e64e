"""The gradient of an embedding, by kernels/embedding.cu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.backend.device.launching import DTYPES, blocks, contiguous, type_of, vector
from tinygen.backend.device.registry import serves
from tinygen.backend.device.rungs import rung_of
from tinygen.backend.launch import Kernel, launch

Array = Any

CHUNK = 32
"""Positions that a block adds up, as in the kernel."""


def _fits(arrays: Sequence[Array], *_: Any) -> bool:
    return all(a.size for a in arrays)


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
    order = backend.xp.argsort(ids, kind="stable").astype(np.int64)
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
