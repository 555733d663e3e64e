"""Sums of rows and elements by index: the gradient of an embedding and of a gather, deterministic.

`np.add.at` is five times slower. A small table is one product with a one-hot matrix; a large one
sorts the indices (stably, so that the order of summation is that of the batch) and adds up each
run.
"""

import numpy as np

from tinygen.backend.numpy_backend.array import Array

ONE_HOT_ROWS = 128
"""Up to this many rows of the table, the product with the one-hot matrix is the faster way."""

ONE_HOT_ELEMENTS = 1 << 20
"""Elements of one piece of the one-hot matrix."""


def embedding_backward(g: Array, ids: Array, rows: int, one_hot_rows: int | None = None) -> Array:
    """g (N, width), ids (N,) integers in [0, rows) -> (rows, width): row i is the sum of g[ids ==
    i]."""
    if rows <= (ONE_HOT_ROWS if one_hot_rows is None else one_hot_rows):
        dweight = _by_one_hot(g, ids, rows)
        if np.isfinite(dweight).all():
            return dweight  # else 0 * inf has spread NaN to rows that the batch does not name
    return _by_sorting(g, ids, rows)


def scatter_add(
    shape: tuple[int, ...], dtype: np.dtype[np.generic], indices: Array, updates: Array, axis: int
) -> Array:
    """Zeros of `shape`, plus every update at its index along `axis` (the adjoint of
    take_along_axis).

    `indices` and `updates` have one shape, equal to `shape` but along `axis`; negative indices
    count from the end, duplicates add up in order. Float updates are summed in float64, then
    rounded once.
    """
    axis = axis % len(shape)
    size = shape[axis]
    flat = np.where(indices < 0, indices + size, indices)
    stride = 1
    position = np.zeros((1,) * len(shape), np.int64)
    for dimension in range(len(shape) - 1, -1, -1):
        if dimension == axis:
            position = position + flat.astype(np.int64) * stride
        else:
            along = np.arange(updates.shape[dimension]) * stride
            position = position + along.reshape([-1] + [1] * (len(shape) - 1 - dimension))
        stride *= shape[dimension]
    position = np.broadcast_to(position, updates.shape).reshape(-1)
    if np.issubdtype(dtype, np.floating):
        total = np.bincount(position, weights=updates.reshape(-1), minlength=stride)
        return total.astype(dtype, copy=False).reshape(shape)
    result = np.zeros(stride, dtype)
    np.add.at(result, position, updates.reshape(-1))
    return result.reshape(shape)


def _by_one_hot(g: Array, ids: Array, rows: int) -> Array:
    """one_hot(ids)^T g, in pieces of the batch so that the one-hot matrix stays small."""
    step = max(1, ONE_HOT_ELEMENTS // max(rows, 1))
    dweight = np.zeros((rows, g.shape[1]), g.dtype)
    for start in range(0, ids.size, step):
        piece = ids[start : start + step]
        one_hot = np.zeros((rows, piece.size), g.dtype)
        one_hot[piece, np.arange(piece.size)] = 1.0
        dweight += one_hot @ g[start : start + step]
    return dweight


def _by_sorting(g: Array, ids: Array, rows: int) -> Array:
    dweight = np.zeros((rows, g.shape[1]), g.dtype)
    if ids.size:
        order = np.argsort(ids, kind="stable")
        grouped = ids[order]
        starts = np.flatnonzero(np.concatenate(([True], grouped[1:] != grouped[:-1])))
        dweight[grouped[starts]] = np.add.reduceat(g[order], starts, axis=0)
    return dweight
