"""Exponentials, logarithms, sine and cosine. Integer inputs give float64, as in NumPy."""

from __future__ import annotations

from typing import Any

from tinygen.backend import Array
from tinygen.function import Function, Value
from tinygen.ops.casting import as_floats

__all__ = ["cos", "exp", "expm1", "log", "log1p", "sin"]


class Exp(Function):
    """y = e^x;  dx = g y."""

    def forward(self, x: Array) -> Array:
        y = self.xp.exp(x)
        self.save(y=y)
        return y

    def backward(self, g: Value) -> Value:
        return g * self.saved.y


class Expm1(Function):
    """y = e^x - 1;  dx = g e^x (not g (y + 1), which is rounded to 0 where e^x is small)."""

    def forward(self, x: Array) -> Array:
        self.save(x=x)
        return self.xp.expm1(x)

    def backward(self, g: Value) -> Value:
        return g * exp(self.saved.x)


class Log(Function):
    """y = log x;  dx = g / x."""

    def forward(self, x: Array) -> Array:
        self.save(x=x)
        return self.xp.log(x)

    def backward(self, g: Value) -> Value:
        return g / self.saved.x


class Log1p(Function):
    """y = log(1 + x);  dx = g / (1 + x)."""

    def forward(self, x: Array) -> Array:
        self.save(x=x)
        return self.xp.log1p(x)

    def backward(self, g: Value) -> Value:
        return g / (1 + self.saved.x)


class Sin(Function):
    """y = sin x;  dx = g cos x."""

    def forward(self, x: Array) -> Array:
        self.save(x=x)
        return self.xp.sin(x)

    def backward(self, g: Value) -> Value:
        return g * cos(self.saved.x)


class Cos(Function):
    """y = cos x;  dx = -g sin x."""

    def forward(self, x: Array) -> Array:
        self.save(x=x)
        return self.xp.cos(x)

    def backward(self, g: Value) -> Value:
        return -g * sin(self.saved.x)


def exp(x: Value) -> Any:
    """e^x, elementwise."""
    return Exp.apply(as_floats(x))


def expm1(x: Value) -> Any:
    """e^x - 1, elementwise, accurate near 0."""
    return Expm1.apply(as_floats(x))


def log(x: Value) -> Any:
    """The natural logarithm, elementwise: -inf at 0, NaN below."""
    return Log.apply(as_floats(x))


def log1p(x: Value) -> Any:
    """log(1 + x), elementwise, accurate near 0: -inf at -1, NaN below."""
    return Log1p.apply(as_floats(x))


def sin(x: Value) -> Any:
    """The sine of x in radians, elementwise."""
    return Sin.apply(as_floats(x))


def cos(x: Value) -> Any:
    """The cosine of x in radians, elementwise."""
    return Cos.apply(as_floats(x))
