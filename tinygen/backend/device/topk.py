"""The k largest of each row, by kernels/topk.cu."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tinygen.backend import order
from tinygen.backend.device.launching import TYPES, as_matrix, blocks, type_of
from tinygen.backend.device.rungs import rung_of
from tinygen.backend.launch import Kernel, launch

Array = Any

MOST = 2048
"""Of k: what a block sorts in shared memory."""


def topk(backend: Any, x: Array, k: int) -> tuple[Array, Array]:
    """Values and places (..., k) of x (..., n), in descending order."""
    if not (backend.kernels and backend.launches and _fits(x, k)):
        return order.topk(backend.xp, x, k)
    shape = (*x.shape[:-1], k)
    x = as_matrix(backend, x)
    rows, n = x.shape
    values, places = backend.empty((rows, k), x.dtype), backend.empty((rows, k), np.int64)
    if rung_of(backend, "topk") == "naive":
        kernel = Kernel("topk.cu", "topk_select_naive", TYPE=type_of(x))
        args = [values, places, x, np.int32(rows), np.int32(n), np.int32(k)]
        launch(backend, kernel, (blocks(rows, 256),), (256,), args)
    else:
        kernel = Kernel("topk.cu", "topk_select", TYPE=type_of(x))
        launch(backend, kernel, (rows,), (1024,), [values, places, x, np.int32(n), np.int32(k)])
    return values.reshape(shape), places.reshape(shape)


def _fits(x: Array, k: int) -> bool:
    return (
        x.dtype.name in TYPES
        and 0 < k <= MOST
        and prod(x.shape[:-1]) > 0
        and max(x.shape[-1], x.size // x.shape[-1]) < 2**31
    )
