"""Matrix products in tiles that BLAS multiplies where they lie.

OpenBLAS first copies both factors of a product into an order of its own, unless there are at most
a million multiplications: for such small ones it has kernels (on processors with AVX-512) that read
the factors in place. Where both factors lie in the cache, as the blocks of a convolution do, the
copies take up to a third of the time, and a product cut into tiles that small does without. A
factor that comes from memory is better copied: its rows are too many streams to be fetched ahead.
"""

from functools import cache

import numpy as np

from tinygen.backend.numpy_backend.array import Array

SMALL = 1_000_000
"""Multiplications of the largest tile."""

COLUMNS = 64
"""Columns of a tile, where the right factor has a multiple of them."""

LARGEST = 1 << 16
"""Elements of the right factor, at most: each row of tiles reads all of it."""

ROWS = (64, 48, 32, 16)
"""Rows of a tile: the first of these that is small enough and leaves none over, if there is one."""


@cache
def small_products_are_fast() -> bool:
    """Whether NumPy's BLAS has kernels for small products: OpenBLAS, for AVX-512."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return False
    kinds = {"SkylakeX", "Cooperlake", "SapphireRapids"}
    return any(library.get("architecture") in kinds for library in threadpool_info())


def matmul(a: Array, b: Array, out: Array) -> Array:
    """out = a b for stacks of matrices (.., M, K) and (.., K, N), of the same leading axes."""
    M, K = a.shape[-2:]
    N = b.shape[-1]
    columns = COLUMNS if N % COLUMNS == 0 else N
    fitting = [rows for rows in ROWS if rows * columns * K <= SMALL and rows <= M]
    if M * N * K <= SMALL or K * N > LARGEST or not fitting or not small_products_are_fast():
        return np.matmul(a, b, out=out)
    rows = next((rows for rows in fitting if M % rows == 0), fitting[0])
    whole = M // rows * rows
    lead = a.shape[:-2]
    left = a[..., :whole, :].reshape(*lead, whole // rows, 1, rows, K)
    right = b.reshape(*lead, 1, K, N // columns, columns).swapaxes(-3, -2)
    tiles = out[..., :whole, :]
    tiles = tiles.reshape(*lead, whole // rows, rows, N // columns, columns, copy=False)
    np.matmul(left, right, out=tiles.swapaxes(-3, -2))
    if whole < M:
        matmul(a[..., whole:, :], b, out[..., whole:, :])
    return out
