"""Channels last, whatever is done alike to all positions of a channel: sums, and y = a x + b.

NumPy restarts its inner loop for every position, which holds 3 to 512 channels. So positions are
taken several at a time: k images (k, P, C) are seen as (k, P/r, r C), vectors of C numbers are
repeated r times, and sums over positions, products with ones, come out as (k, r C) and are folded.
"""

from functools import lru_cache

import numpy as np

from tinygen.backend.numpy_backend.array import Array
from tinygen.backend.numpy_backend.rows import ones

WIDE = 1024
"""Elements of a row that holds several positions, at most: enough to forget the restarts."""


@lru_cache(maxsize=256)
def positions_in_row(positions: int, channels: int) -> int:
    """The largest divisor r of `positions` with r * channels <= WIDE, or 1."""
    most = min(positions, WIDE // max(channels, 1))
    return next((r for r in range(most, 1, -1) if positions % r == 0), 1)


def widened(x: Array, images: int) -> Array:
    """(images, ..., C), or anything of as many elements -> (images, P/r, r C)."""
    channels = x.shape[-1]
    positions = x.size // max(images * channels, 1)
    r = positions_in_row(positions, channels)
    return np.ascontiguousarray(x).reshape(images, positions // r, r * channels)


def sums(x: Array, channels: int) -> Array:
    """x (k, R, r C) -> (k, C): the sum over the positions of each of k images."""
    rows = x.shape[1]
    return _folded(np.matmul(ones(rows, x.dtype), x), channels)


def product_sums(x: Array, y: Array, channels: int) -> Array:
    """x and y (k, R, r C) -> (k, C): the sum of x y over the positions of each of k images. The
    products are never stored, which makes einsum a third faster here than `sums` of them."""
    return _folded(np.einsum("krc,krc->kc", x, y), channels)


def _folded(totals: Array, channels: int) -> Array:
    """(k, r C) -> (k, C)."""
    k, width = totals.shape
    if width == channels:
        return totals
    r = width // channels
    return np.matmul(ones(r, totals.dtype), totals.reshape(k, r, channels))


def wide(values: Array, like: Array, size: int = 1) -> Array:
    """values (k, G, `size`), or with axes of length 1 -> (k, 1, r G size) in the dtype of `like`
    (k, R, r G size), to be combined with it."""
    k, groups = values.shape[:2]
    width = like.shape[-1]
    repeated = np.empty((k, width // max(groups * size, 1), groups, size), like.dtype)
    repeated[...] = values[:, None]
    return repeated.reshape(k, 1, width)
