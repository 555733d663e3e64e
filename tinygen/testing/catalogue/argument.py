"""Argument descriptions that many entries share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygen.backend import Array
from tinygen.testing.catalogue import Bad
from tinygen.testing.drawing import REAL, Call, Domain, Draw

Args = Callable[[Draw], Call]


def one(domain: Domain = REAL, min_dims: int = 0, max_dims: int = 3) -> Args:
    """x of any shape."""
    return lambda draw: Call(draw.array(draw.shape(min_dims, max_dims), domain))


def two(first: Domain = REAL, second: Domain = REAL, numbers: bool = True) -> Args:
    """x and y that broadcast, one of them a Python number at times."""

    def args(draw: Draw) -> Call:
        a, b = draw.broadcastable(2)
        x, y = draw.array(a, first), draw.array(b, second)
        kind = draw.integer(0, 9) if numbers and draw.regime == "smooth" else 9
        if kind == 0:
            return Call(x, float(np.float32(draw.rng.uniform(max(second.low, 0.5), second.high))))
        if kind == 1:
            return Call(float(np.float32(draw.rng.uniform(max(first.low, 0.5), first.high))), y)
        return Call(x, y)

    return args


def several(n: int, distinct: bool = False) -> Args:
    """n arrays that broadcast."""

    def args(draw: Draw) -> Call:
        shapes = draw.broadcastable(n)
        if distinct:
            return Call(*draw.distinct(*shapes))
        return Call(*(draw.array(shape) for shape in shapes))

    return args


def mask(draw: Draw, shape: tuple[int, ...]) -> Array:
    """A boolean array."""
    return draw.indices(shape, 0, 2) == 1


def bad(why: str, error: type[Exception], call: Callable[[], Any]) -> Bad:
    return Bad(why, error, call)


def zeros(*shape: int) -> Array:
    return np.zeros(shape)


def on_float64(f: Callable[..., float]) -> Callable[..., Array]:
    """A function of `math`, elementwise on arrays."""
    vectorised = np.vectorize(f, otypes=[np.float64])
    return lambda x: np.asarray(vectorised(x))
