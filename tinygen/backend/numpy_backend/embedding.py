"""Sums of rows and of elements by index: the gradients of an embedding and of a gather.

Both are deterministic, and several times faster than `np.add.at`. Rows are sorted by index (stably,
so that they are added in the order of the batch) and each run of one index is added up, as a
product with ones; elements are counted into place in float64.
"""

from math import prod

import numpy as np

from tinygen.backend.numpy_backend.array import Array
from tinygen.backend.numpy_backend.rows import ones


def embedding_forward(weight: Array, ids: Array) -> Array:
    """weight (rows, width), ids (N,) integers in [0, rows) -> weight[ids] (N, width)."""
    return weight.take(ids, 0)


def embedding_backward(g: Array, ids: Array, rows: int) -> Array:
    """g (N, width), ids (N,) integers in [0, rows) -> (rows, width): row i sums g[ids == i]."""
    dweight = np.zeros((rows, g.shape[1]), g.dtype)
    if not ids.size:
        return dweight
    order = np.argsort(ids, kind="stable")
    ids, g = ids[order], g[order]
    edges = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1], [True])))
    starts, lengths = edges[:-1], np.diff(edges)

    single = starts[lengths == 1]
    dweight[ids[single]] = g[single]

    several = lengths > 1
    one = ones(ids.size, g.dtype)
    for row, start, n in zip(
        ids[starts[several]].tolist(),
        starts[several].tolist(),
        lengths[several].tolist(),
        strict=True,
    ):
        np.dot(one[:n], g[start : start + n], out=dweight[row])
    return dweight


def scatter_add(
    shape: tuple[int, ...], dtype: np.dtype[np.generic], indices: Array, updates: Array, axis: int
) -> Array:
    """Zeros of `shape`, plus each update at its index along `axis`: what undoes take_along_axis.

    `indices` and `updates` have one shape, that of the result but along `axis`; negative indices
    count from the end, duplicates add up. Floats are summed in float64, in order, and rounded once.
    """
    axis = axis % len(shape)
    positions = np.zeros((1,) * len(shape), np.int64)  # of each update in the flat result
    for dimension, size in enumerate(updates.shape):
        along = np.arange(size).reshape([-1] + [1] * (len(shape) - 1 - dimension))
        if dimension == axis:
            along = np.where(indices < 0, indices + shape[axis], indices)
        positions = positions * shape[dimension] + along
    flat = np.broadcast_to(positions, updates.shape).reshape(-1)
    if np.issubdtype(dtype, np.floating):
        total = np.bincount(flat, weights=updates.reshape(-1), minlength=prod(shape))
        return total.astype(dtype, copy=False).reshape(shape)
    result = np.zeros(prod(shape), dtype)
    np.add.at(result, flat, updates.reshape(-1))
    return result.reshape(shape)
