"""The leaky rectifier and its derivative."""

from typing import Any

Array = Any


def leaky_relu(xp: Any, x: Array, slope: float) -> Array:
    """x where x > 0, else slope x."""
    if not slope:  # 0 * inf would be NaN
        return xp.maximum(x, 0)
    return xp.where(x > 0, x, x * x.dtype.type(slope))


def leak(xp: Any, x: Array, above: Array, slope: float) -> Array:
    """x where `above`, else slope x."""
    return x * xp.where(above, x.dtype.type(1), x.dtype.type(slope))
