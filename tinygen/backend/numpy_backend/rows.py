"""Rows: an array seen as a matrix over its last axis, taken in blocks that stay in the cache.

NumPy restarts its inner loop for each row, so on rows of 64-400 elements whatever sums or
broadcasts along them is slow, and BLAS is not: a row sum is a product with ones (4-5 times faster),
and a number for each row is spread over its columns by a product of depth 2 (three times faster).
"""

from collections.abc import Iterator
from functools import lru_cache
from math import prod

import numpy as np

from tinygen.backend.numpy_backend.aligned import empty
from tinygen.backend.numpy_backend.array import Array

BLOCK = 65536
"""Elements of a block: two or three arrays of this size stay in a second-level cache of 1-2 MB."""

SMALL = 4096
"""Elements below which `outer` broadcasts: a product of matrices has more to prepare."""


def as_rows(x: Array) -> Array:
    """(..., n) -> (rows, n): a view where the strides allow it, else a copy."""
    return x.reshape(prod(x.shape[:-1]), x.shape[-1])


def row_blocks(rows: int, width: int, block: int | None = None) -> Iterator[slice]:
    """Slices that cover `rows` rows of `width`, about `block` (default `BLOCK`) elements each."""
    step = max(1, (BLOCK if block is None else block) // max(1, width))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def row_sums(x: Array) -> Array:
    """(rows, n) -> (rows,): sum over the columns."""
    return x @ ones(x.shape[1], x.dtype)


def column_sums(x: Array) -> Array:
    """(rows, n) -> (n,): sum over the rows."""
    return ones(x.shape[0], x.dtype) @ x


def outer(column: Array, row: Array, out: Array | None = None) -> Array:
    """column (rows,), row (n,) -> (rows, n), their products.

    As the product of matrices [column, 0] [row; 0]: with depth 1 NumPy would not call BLAS.
    """
    shape = column.size, row.size
    if column.size * row.size < SMALL:
        return np.multiply(column[:, None], row, out=out)
    left, right = np.zeros((column.size, 2), column.dtype), np.zeros((2, row.size), row.dtype)
    left[:, 0], right[0] = column, row
    return np.matmul(left, right, out=empty(shape, column.dtype) if out is None else out)


def spread(column: Array, width: int, out: Array | None = None) -> Array:
    """(rows,) -> (rows, width): each number all along its row."""
    return outer(column, ones(width, column.dtype), out)


@lru_cache(maxsize=64)
def ones(size: int, dtype: np.dtype[np.generic]) -> Array:
    """A read-only vector of ones, kept from call to call."""
    vector = np.ones(size, dtype)
    vector.flags.writeable = False
    return vector
