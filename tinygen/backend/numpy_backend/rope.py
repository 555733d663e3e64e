"""Pairs of features turned by an angle: the work of rotary position embedding.

The two of a pair are half a head apart, so that a loop over one half ends after 16 or 32 numbers. A
packed projection has the heads of a token side by side, and there whole tokens are turned instead:
x cos + x' sin, where x' has the two halves of each head swapped and sin carries their signs. Only
the swap goes by halves: 0.63 of the time of four products by halves, and the same bits.
"""

import numpy as np

from tinygen.backend.numpy_backend.activation import BLOCK
from tinygen.backend.numpy_backend.aligned import empty
from tinygen.backend.numpy_backend.array import Array

FEW = 4096
"""Elements up to which the two ways cost as much, or the shorter one less."""


def rotate_pairs(
    x: Array, cos: Array, sin: Array, interleaved: bool, *, back: bool = False
) -> Array:
    """(a c - b s, a s + b c) of each pair (a, b) of x (..., T, D), cos and sin (T, D/2) or with
    more axes; with -s if `back`. Pairs are (2 i, 2 i + 1) if `interleaved`, else (i, i + D/2)."""
    sin = -sin if back else sin
    if not interleaved and cos.ndim == 2 and x.ndim == 4 and x.size > FEW:
        tokens = x.transpose(0, 2, 1, 3)  # (B, T, H, D)
        if tokens.strides[2:] == (x.shape[-1] * x.itemsize, x.itemsize):
            return _by_tokens(tokens, cos, sin).transpose(0, 2, 1, 3)
    half = x.shape[-1] // 2
    first, second = slice(0, half), slice(half, None)
    if interleaved:
        first, second = slice(0, None, 2), slice(1, None, 2)
    y = np.empty(x.shape, x.dtype)
    a, b = x[..., first], x[..., second]
    y[..., first] = a * cos - b * sin
    y[..., second] = a * sin + b * cos
    return y


def _by_tokens(x: Array, cos: Array, sin: Array) -> Array:
    """x (B, T, H, D) of which each token lies in one piece -> the same, in one piece."""
    B, T, H, D = x.shape
    factor = np.tile(np.concatenate([cos, cos], axis=1), H)  # (T, H D), or (1, H D) for all
    turn = np.tile(np.concatenate([-sin, sin], axis=1), H)
    y = empty((B, T, H * D), x.dtype)
    step = max(1, BLOCK // (T * H * D))
    swapped = empty((step, T, H, 2, D // 2), x.dtype)
    for i in range(0, B, step):
        block, out = x[i : i + step], y[i : i + step]
        other = swapped[: len(block)]
        other[...] = block.reshape(other.shape)[..., ::-1, :]
        other = other.reshape(out.shape)
        other *= turn
        np.multiply(block.reshape(out.shape), factor, out=out)
        out += other
    return y.reshape(x.shape)
