"""Resizing of (N, H, W, C), along one axis after the other, and the adjoint of that.

Output i of an axis of n elements made m long looks at the place (i + 1/2) n/m - 1/2 of the input:

    nearest    element floor((i + 1/2) n/m), in whole numbers; each element of a whole factor m/n is
               repeated, and the adjoint sums the repeats
    bilinear   the elements on both sides, weighted by nearness; beyond the ends, the end itself
"""

import numpy as np

from tinygen.backend.geometry import Pair
from tinygen.backend.numpy_backend.array import Array


def resize(x: Array, size: Pair, mode: str) -> Array:
    """x (N, H, W, C) -> (N, *size, C)."""
    along = _nearest if mode == "nearest" else _linear
    return along(along(x, 2, size[1]), 1, size[0])


def resize_adjoint(g: Array, size: Pair, mode: str) -> Array:
    """g (N, H', W', C) -> (N, *size, C), `size` that of what was resized."""
    along = _nearest_adjoint if mode == "nearest" else _linear_adjoint
    return along(along(g, 1, size[0]), 2, size[1])


def _nearest(x: Array, axis: int, m: int) -> Array:
    n = x.shape[axis]
    if m % n == 0:
        return x.repeat(m // n, axis)
    return x.take(_nearest_places(n, m), axis)


def _nearest_adjoint(g: Array, axis: int, n: int) -> Array:
    m = g.shape[axis]
    before, after = g.shape[:axis], g.shape[axis + 1 :]
    if m % n == 0:
        runs = g.reshape(*before, n, m // n, *after)
        first, *others = np.moveaxis(runs, axis + 1, 0)
        dx = np.array(first)
        for other in others:
            dx += other
        return dx
    dx = np.zeros((*before, n, *after), g.dtype)
    chosen, starts = np.unique(_nearest_places(n, m), return_index=True)
    np.moveaxis(dx, axis, 0)[chosen] = np.moveaxis(np.add.reduceat(g, starts, axis), axis, 0)
    return dx


def _nearest_places(n: int, m: int) -> Array:
    return (2 * np.arange(m) + 1) * n // (2 * m)


def _linear(x: Array, axis: int, m: int) -> Array:
    low, high, nearness = _linear_places(x.shape[axis], m)
    weight = nearness.astype(x.dtype).reshape(-1, *(1,) * (x.ndim - axis - 1))
    y = x.take(low, axis)
    y *= 1 - weight
    y += x.take(high, axis) * weight
    return y


def _linear_adjoint(g: Array, axis: int, n: int) -> Array:
    low, high, nearness = _linear_places(n, g.shape[axis])
    dx = np.zeros((*g.shape[:axis], n, *g.shape[axis + 1 :]), g.dtype)
    lines, sums = np.moveaxis(g, axis, 0), np.moveaxis(dx, axis, 0)
    for line, i, j, weight in zip(lines, low, high, nearness.astype(g.dtype), strict=True):
        sums[i] += line * (1 - weight)
        sums[j] += line * weight
    return dx


def _linear_places(n: int, m: int) -> tuple[Array, Array, Array]:
    """The elements below and above each place, and the weight of the upper one."""
    place = np.clip((np.arange(m) + 0.5) * (n / m) - 0.5, 0, n - 1)
    low = place.astype(int)
    return low, np.minimum(low + 1, n - 1), place - low
