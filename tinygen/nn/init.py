"""Initial values: pure functions from a shape and a random generator to an array.

    weight = Parameter(init.kaiming_uniform((out_features, in_features), rng=rng))
    weight.data[...] = init.normal(weight.shape, std=0.02, rng=rng)     # or a fresh start, in place

A weight has its outputs on the first axis and its inputs on the last, with a convolution's window
between them, so fan_in = product of all axes but the first, fan_out = product of all but the last.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen.backend import Array
from tinygen.errors import ShapeError, UsageError
from tinygen.random import Generator

Shape = tuple[int, ...]

_NARROW = math.sqrt(math.pi / 2)
"""The bound below which fewer uniform proposals than normal ones fail: sqrt(2 pi) / (2 bound) of
as many are kept."""


def zeros(shape: Shape, dtype: Any = "float32") -> Array:
    """Zeros: biases."""
    return np.zeros(shape, dtype)


def ones(shape: Shape, dtype: Any = "float32") -> Array:
    """Ones: the weights of a norm."""
    return np.ones(shape, dtype)


def uniform(
    shape: Shape, low: float = 0.0, high: float = 1.0, *, rng: Generator, dtype: Any = "float32"
) -> Array:
    """Uniform in [low, high)."""
    return rng.uniform(shape, low, high, dtype)


def normal(
    shape: Shape, mean: float = 0.0, std: float = 1.0, *, rng: Generator, dtype: Any = "float32"
) -> Array:
    """N(mean, std^2)."""
    return _moved(rng.normal(shape, dtype), mean, std)


def truncated_normal(
    shape: Shape,
    mean: float = 0.0,
    std: float = 1.0,
    bound: float = 2.0,
    *,
    rng: Generator,
    dtype: Any = "float32",
) -> Array:
    """N(mean, std^2) within `bound` (times `std`) of the mean.

    By rejection: what falls outside is drawn again. For a narrow bound, where most of a normal
    would fall outside, proposals are uniform and kept with probability exp(-x^2 / 2) (Robert 1995,
    section 2.2).
    """
    if not bound > 0:
        raise UsageError(f"truncated_normal: bound is {bound}; it must be positive.")
    x = zeros(shape, dtype)
    left = np.ones(shape, bool)
    while n := int(left.sum()):
        if bound > _NARROW:
            proposed = rng.normal(n, dtype)
            kept = abs(proposed) <= bound
        else:
            proposed = rng.uniform(n, -bound, bound, dtype)
            kept = rng.uniform(n, dtype=dtype) < np.exp(-proposed * proposed / 2)
        x[left] = proposed
        left[left] = ~kept
    return _moved(x, mean, std)


def _moved(x: Array, mean: float, std: float) -> Array:
    """std x + mean, in place: an array stays an array, of its dtype."""
    x *= std
    x += mean
    return x


def xavier_uniform(
    shape: Shape, gain: float = 1.0, *, rng: Generator, dtype: Any = "float32"
) -> Array:
    """U(-b, b), b = gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16)."""
    b = gain * math.sqrt(6 / sum(fans(shape)))
    return uniform(shape, -b, b, rng=rng, dtype=dtype)


def xavier_normal(
    shape: Shape, gain: float = 1.0, *, rng: Generator, dtype: Any = "float32"
) -> Array:
    """N(0, s^2), s = gain sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 12)."""
    return normal(shape, 0.0, gain * math.sqrt(2 / sum(fans(shape))), rng=rng, dtype=dtype)


def kaiming_uniform(
    shape: Shape, slope: float = 0.0, *, rng: Generator, dtype: Any = "float32"
) -> Array:
    """U(-b, b), b = sqrt(6 / ((1 + slope^2) fan_in)), for a leaky ReLU of that negative slope
    (He et al. 2015, eq. 15). slope = sqrt(5) gives U(-1/sqrt(fan_in), 1/sqrt(fan_in))."""
    b = math.sqrt(6 / ((1 + slope * slope) * fans(shape)[0]))
    return uniform(shape, -b, b, rng=rng, dtype=dtype)


def kaiming_normal(
    shape: Shape, slope: float = 0.0, *, rng: Generator, dtype: Any = "float32"
) -> Array:
    """N(0, 2 / ((1 + slope^2) fan_in)) (He et al. 2015, eq. 15)."""
    std = math.sqrt(2 / ((1 + slope * slope) * fans(shape)[0]))
    return normal(shape, 0.0, std, rng=rng, dtype=dtype)


def orthogonal(shape: Shape, gain: float = 1.0, *, rng: Generator, dtype: Any = "float32") -> Array:
    """A random matrix (first axis by all others) with orthonormal rows or columns, times `gain`.

    Uniform over such matrices: the Q of a normal matrix, with the signs of R's diagonal taken out
    (Saxe et al. 2013; Mezzadri 2007).
    """
    fans(shape)
    rows, columns = shape[0], math.prod(shape[1:])
    q, r = np.linalg.qr(rng.normal((max(rows, columns), min(rows, columns)), "float64"))
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return (gain * (q if rows >= columns else q.T)).reshape(shape).astype(dtype)


def fans(shape: Shape) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight."""
    if len(shape) < 2 or 0 in shape:
        raise ShapeError(
            f"a weight of shape {shape} has no fan-in and fan-out: it needs two axes or more, none "
            "of size 0. Use zeros, ones, uniform or normal."
        )
    return math.prod(shape[1:]), math.prod(shape[:-1])
