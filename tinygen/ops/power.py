"""Powers and roots."""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.backend import PYTHON_SCALARS, Array
from tinygen.errors import DtypeError
from tinygen.function import Function, Value
from tinygen.ops.casting import as_floats

__all__ = ["power", "rsqrt", "sqrt", "square"]


class PowerOf(Function):
    """y = x^n for a number n;  dx = g n x^(n-1)."""

    def forward(self, x: Array, *, n: float) -> Array:
        if n < 0:
            _refuse_integer_fractions(self.xp, x, n)
        self.save(x=x)
        if n == 2 and x.dtype.kind != "b":
            return x * x
        if n == 3 and x.dtype.kind != "b":  # 80 times faster than the general power
            return x * x * x
        return self.xp.power(x, n)

    def backward(self, g: Value) -> Value:
        n = self.params["n"]
        if n == 0:
            return ops.zeros_like(g)
        return g if n == 1 else g * (n * power(self.saved.x, n - 1))


class Power(Function):
    """z = x^y;  dx = g y x^(y-1),  dy = g z log x.

    Where x = 0, dy is 0, the limit from y > 0; and so is dx where y = 0 too, as x^0 is 1. Both are
    reached by computing with x = 1 there, so that no derivative ever sees 0 log 0.
    """

    broadcasts = promotes = True

    def forward(self, x: Array, y: Array) -> Array:
        _refuse_integer_fractions(self.xp, x, y)
        z = self.xp.power(x, y)
        base = x if hasattr(x, "dtype") else self.xp.asarray(x, z.dtype)
        self.save(x=base, y=y, z=z)
        return z

    def backward(self, g: Value) -> tuple[Value, Value]:
        x, y, z = self.saved.x, self.saved.y, self.saved.z
        dx = dy = None
        zero = x == 0
        if self.needs[0]:
            flat = ops.logical_and(zero, y == 0)
            dx = g * ops.where(flat, 0, y) * power(ops.where(flat, 1, x), y - 1)
        if self.needs[1]:
            dy = g * ops.where(zero, 0, z) * ops.log(ops.where(zero, 1, x))
        return dx, dy


class Square(Function):
    """y = x^2;  dx = 2 g x."""

    def forward(self, x: Array) -> Array:
        self.save(x=x)
        return self.xp.square(x)

    def backward(self, g: Value) -> Value:
        return 2 * g * self.saved.x


class Sqrt(Function):
    """y = sqrt(x);  dx = g / (2 y)."""

    def forward(self, x: Array) -> Array:
        y = self.xp.sqrt(x)
        self.save(y=y)
        return y

    def backward(self, g: Value) -> Value:
        return 0.5 * g / self.saved.y


class Rsqrt(Function):
    """y = 1 / sqrt(x);  dx = -g y^3 / 2."""

    def forward(self, x: Array) -> Array:
        y = 1 / self.xp.sqrt(x)
        self.save(y=y)
        return y

    def backward(self, g: Value) -> Value:
        y = self.saved.y
        return -0.5 * g * y * y * y


def power(x: Value, y: Value) -> Any:
    """x^y, elementwise; x, y broadcast, and either may be a Python number.

    Gradients at x = 0: by x it is that of the polynomial for whole y >= 0 (0 for y = 0) and inf for
    0 < y < 1; by y it is 0. A negative x with a fractional y is NaN, and so is the gradient by y of
    any negative x. An integer to a negative integer power is a `DtypeError`, as in the standard.
    """
    if isinstance(y, PYTHON_SCALARS) and y is not None:
        return PowerOf.apply(x, n=y)
    return Power.apply(x, y)


def square(x: Value) -> Any:
    """x^2, elementwise."""
    return Square.apply(x)


def sqrt(x: Value) -> Any:
    """The square root, elementwise: NaN below 0. The gradient at 0 is inf."""
    return Sqrt.apply(as_floats(x))


def rsqrt(x: Value) -> Any:
    """1 / sqrt(x), elementwise: inf at 0, NaN below."""
    return Rsqrt.apply(as_floats(x))


def _refuse_integer_fractions(xp: Any, x: Any, y: Any) -> None:
    if xp.result_type(x, y).kind in "iu" and xp.any(xp.less(y, 0)):
        raise DtypeError(
            "power: integers to negative integer powers are fractions. Make the base or the "
            "exponent a float first: x.astype('float32')."
        )
