"""Steps: the sign of x and the integers around it. Their gradient is zero, at the jumps too."""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.backend import Array
from tinygen.function import Function, Value

__all__ = ["ceil", "floor", "round", "sign"]


class Step(Function):
    """A piecewise constant function of x;  dx = 0."""

    def backward(self, g: Value) -> Value:
        return ops.zeros_like(g)


class Sign(Step):
    """y = -1, 0 or 1;  dx = 0."""

    def forward(self, x: Array) -> Array:
        return self.xp.sign(x)


class Floor(Step):
    """y = the largest integer <= x;  dx = 0."""

    def forward(self, x: Array) -> Array:
        return self.xp.floor(x)


class Ceil(Step):
    """y = the smallest integer >= x;  dx = 0."""

    def forward(self, x: Array) -> Array:
        return self.xp.ceil(x)


class Round(Step):
    """y = the integer nearest to x;  dx = 0."""

    def forward(self, x: Array) -> Array:
        return self.xp.round(x)


def sign(x: Value) -> Any:
    """-1, 0 or 1 (NaN for NaN), elementwise, in x's dtype."""
    return Sign.apply(x)


def floor(x: Value) -> Any:
    """The largest integer not above x, elementwise, in x's dtype."""
    return Floor.apply(x)


def ceil(x: Value) -> Any:
    """The smallest integer not below x, elementwise, in x's dtype."""
    return Ceil.apply(x)


def round(x: Value) -> Any:
    """The integer nearest to x, the even one of two, elementwise, in x's dtype."""
    return Round.apply(x)
