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
    k, rows, width = x.shape
    totals = np.matmul(ones(rows, x.dtype), x)  # (k, r C)
    if width == channels:
        return totals
    r = width // channels
    return np.matmul(ones(r, x.dtype), totals.reshape(k, r, channels))


def wide(values: Array, like: Array) -> Array:
    """values (k, C) -> (k, 1, r C) in the dtype of `like` (k, R, r C), to be combined with it."""
    k, channels = values.shape
    width = like.shape[-1]
    repeated = np.empty((k, width // max(channels, 1), channels), like.dtype)
    repeated[...] = values[:, None]
    return repeated.reshape(k, 1, width)
