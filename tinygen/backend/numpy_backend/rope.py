"""Pairs of features turned by an angle: the work of rotary position embedding."""

import numpy as np

from tinygen.backend.numpy_backend.array import Array


def rotate_pairs(
    x: Array, cos: Array, sin: Array, interleaved: bool, *, back: bool = False
) -> Array:
    """(a c - b s, a s + b c) of each pair (a, b) of x (..., T, D), cos and sin (T, D/2); with -s
    if `back`. Pairs are (2 i, 2 i + 1) if `interleaved`, else (i, i + D/2)."""
    half = x.shape[-1] // 2
    first, second = slice(0, half), slice(half, None)
    if interleaved:
        first, second = slice(0, None, 2), slice(1, None, 2)
    sin = -sin if back else sin
    y = np.empty(x.shape, x.dtype)
    a, b = x[..., first], x[..., second]
    y[..., first] = a * cos - b * sin
    y[..., second] = a * sin + b * cos
    return y
