"""The four operations, the sign and the size of a number.

Inputs broadcast and are promoted as the array API standard says (a Python number adapts to the
other input's dtype); the engine sums gradients back to each input's shape. Shapes that do not
broadcast are a `ShapeError`.
"""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.backend import Array
from tinygen.function import Function, Value

__all__ = ["abs", "add", "divide", "multiply", "negative", "subtract"]


class Arithmetic(Function):
    """An op of two inputs that meet element by element."""

    broadcasts = promotes = True


class Add(Arithmetic):
    """z = x + y;  dx = g,  dy = g."""

    rounds_once = True

    def forward(self, x: Array, y: Array) -> Array:
        return self.xp.add(x, y)

    def backward(self, g: Value) -> tuple[Value, Value]:
        return g, g


class Subtract(Arithmetic):
    """z = x - y;  dx = g,  dy = -g."""

    rounds_once = True

    def forward(self, x: Array, y: Array) -> Array:
        return self.xp.subtract(x, y)

    def backward(self, g: Value) -> tuple[Value, Value]:
        return g, -g if self.needs[1] else None


class Multiply(Arithmetic):
    """z = x y;  dx = g y,  dy = g x."""

    rounds_once = True

    def forward(self, x: Array, y: Array) -> Array:
        match self.needs:  # a factor is kept only for the other one's gradient
            case (True, True):
                self.save(x=x, y=y)
            case (True, False):
                self.save(y=y)
            case (False, True):
                self.save(x=x)
        return self.xp.multiply(x, y)

    def backward(self, g: Value) -> tuple[Value, Value]:
        dx = g * self.saved.y if self.needs[0] else None
        dy = g * self.saved.x if self.needs[1] else None
        return dx, dy


class Divide(Arithmetic):
    """z = x / y;  dx = g / y,  dy = -(g / y) z."""

    def forward(self, x: Array, y: Array) -> Array:
        z = self.xp.divide(x, y)
        match self.needs:
            case (_, True):
                self.save(y=y, z=z)
            case (True, False):
                self.save(y=y)
        return z

    def backward(self, g: Value) -> tuple[Value, Value]:
        dx = g / self.saved.y
        return dx, -dx * self.saved.z if self.needs[1] else None


class Negative(Function):
    """y = -x;  dx = -g."""

    def forward(self, x: Array) -> Array:
        return self.xp.negative(x)

    def backward(self, g: Value) -> Value:
        return -g


class Abs(Function):
    """y = |x|;  dx = g sign(x)."""

    def forward(self, x: Array) -> Array:
        self.save(x=x)
        return self.xp.abs(x)

    def backward(self, g: Value) -> Value:
        return g * ops.sign(self.saved.x)


def add(x: Value, y: Value) -> Any:
    """x + y, elementwise; x, y broadcast."""
    return Add.apply(x, y)


def subtract(x: Value, y: Value) -> Any:
    """x - y, elementwise; x, y broadcast. Booleans are a `DtypeError`."""
    return Subtract.apply(x, y)


def multiply(x: Value, y: Value) -> Any:
    """x y, elementwise; x, y broadcast."""
    return Multiply.apply(x, y)


def divide(x: Value, y: Value) -> Any:
    """x / y, elementwise; x, y broadcast. Integers divide to float64; x / 0 is inf or NaN."""
    return Divide.apply(x, y)


def negative(x: Value) -> Any:
    """-x, elementwise. Booleans are a `DtypeError`."""
    return Negative.apply(x)


def abs(x: Value) -> Any:
    """|x|, elementwise; the gradient at 0 is 0."""
    return Abs.apply(x)
