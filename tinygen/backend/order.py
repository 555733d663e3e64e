"""Order along an axis, on the arrays of any device.

NaN counts as larger than every number. Equal elements keep their order, the lowest place first.
"""

from __future__ import annotations

from typing import Any

Array = Any


def order(xp: Any, x: Array, axis: int, descending: bool) -> Array:
    """The stable argsort of x."""
    if not descending:
        return xp.argsort(x, axis=axis, stable=True)
    # Stable in the mirror: the last of equals comes first there, and so last here.
    mirrored = xp.argsort(xp.flip(x, axis), axis=axis, stable=True)
    return x.shape[axis] - 1 - xp.flip(mirrored, axis)


def topk(xp: Any, x: Array, k: int) -> tuple[Array, Array]:
    """The k largest along the last axis in descending order, and their places: x (..., n) ->
    (..., k) each."""
    places = _largest(xp, x, k)
    return xp.take_along_axis(x, places, -1), places


def _largest(xp: Any, x: Array, k: int) -> Array:
    """The places of the k largest.

    A partition finds the k-th largest, the threshold, in linear time; what lies above it is kept,
    then as many of its equals as are still missing, from the left. Only these k are sorted.
    """
    n = x.shape[-1]
    if n < 1024 or not 0 < k < n // 4:
        return order(xp, x, -1, descending=True)[..., :k]
    threshold = xp.partition(x, n - k, axis=-1)[..., n - k, None]
    if (threshold != threshold).any():  # more than k NaN
        return order(xp, x, -1, descending=True)[..., :k]
    above = ~(x <= threshold)  # a NaN is above
    level = x == threshold
    missing = k - xp.count_nonzero(above, axis=-1)[..., None]
    kept = above | (level & (xp.cumsum(level, axis=-1) <= missing))
    candidates = xp.nonzero(kept)[-1].reshape(*x.shape[:-1], k)
    by_value = order(xp, xp.take_along_axis(x, candidates, -1), -1, descending=True)
    return xp.take_along_axis(candidates, by_value, -1)
