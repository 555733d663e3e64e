"""Rows: an array seen as a matrix over its last axis, taken in blocks that stay in the cache.

NumPy reduces short rows slowly (it restarts its loop for each row), BLAS does not: the sum of every
row is one matrix-vector product with ones, 4-5 times faster than `np.add.reduce` at 64-128 columns.
"""

from collections.abc import Iterator
from functools import lru_cache
from math import prod

import numpy as np

from tinygen.backend.numpy_backend.array import Array

BLOCK = 65536
"""Elements of a block: with two or three scratch arrays it stays in a second-level cache of 1-2
MB."""


def as_rows(x: Array) -> Array:
    """(..., n) -> (rows, n): a view where the strides allow it, else a copy."""
    return x.reshape(prod(x.shape[:-1]), x.shape[-1])


def row_blocks(rows: int, width: int, block: int | None = None) -> Iterator[slice]:
    """Slices that cover `rows` rows of `width` elements, about `block` (default `BLOCK`) elements
    each."""
    step = max(1, (BLOCK if block is None else block) // max(1, width))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def row_sums(x: Array) -> Array:
    """(rows, n) -> (rows,): sum over the columns."""
    return x @ ones(x.shape[1], x.dtype)


def column_sums(x: Array) -> Array:
    """(rows, n) -> (n,): sum over the rows."""
    return ones(x.shape[0], x.dtype) @ x


@lru_cache(maxsize=64)
def ones(size: int, dtype: np.dtype[np.generic]) -> Array:
    """A read-only vector of ones, kept from call to call."""
    vector = np.ones(size, dtype)
    vector.flags.writeable = False
    return vector
