"""Axes folded into sums: sum, mean, variance, standard deviation, and running sums.

`axis` is None for all axes, a number or a tuple; negative numbers count from the end, and an axis
that does not exist or comes twice is a `ShapeError`. `keepdims` leaves folded axes with length 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index
from typing import Any

from tinygen import ops
from tinygen.arguments import number
from tinygen.backend import Array
from tinygen.errors import DtypeError, ShapeError
from tinygen.function import Function, Value
from tinygen.ops.casting import as_floats
from tinygen.ops.shape import axis_from_front

__all__ = ["cumsum", "mean", "std", "sum", "sum_to", "var"]

Axis = int | Sequence[int] | None


class Reduction(Function):
    """An op that folds some axes of x; it knows how to lay a result over the elements again."""

    def fold(self, x: Array, axis: Axis) -> tuple[int, ...]:
        """The axes to fold, from the front. `self.count` elements will make one result."""
        self.shape = x.shape
        self.axes = axes = axes_from_front(type(self).__name__.lower(), axis, x.ndim)
        self.unfolded = tuple([1 if i in axes else n for i, n in enumerate(x.shape)])
        self.count = math.prod([x.shape[i] for i in axes])
        return axes

    def unfold(self, y: Value) -> Value:
        """A result, or its gradient, in a shape that broadcasts against x."""
        return y if y.shape == self.unfolded else ops.reshape(y, self.unfolded)

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        """One for each element folded; more where a subclass does more."""
        return int(arrays[0].size)


class Sum(Reduction):
    """y = sum x;  dx = g at every element."""

    def forward(self, x: Array, *, axis: Axis, keepdims: bool) -> Array:
        return self.xp.add.reduce(x, axis=self.fold(x, axis), keepdims=keepdims)

    def backward(self, g: Value) -> Value:
        return ops.broadcast_to(self.unfold(g), self.shape)


class SumTo(Function):
    """y = x summed over the axes that broadcasting added or stretched;  dx = g broadcast again."""

    def forward(self, x: Array, *, shape: tuple[int, ...]) -> Array:
        self.shape = x.shape
        added = x.ndim - len(shape)
        lengths = (1,) * added + shape
        if added < 0 or any(n not in (1, m) for n, m in zip(lengths, x.shape, strict=True)):
            raise ShapeError(f"sum_to: {shape} does not broadcast to {x.shape}.")
        axes = tuple([i for i, n in enumerate(lengths) if i < added or n != x.shape[i]])
        return self.xp.add.reduce(x, axis=axes).reshape(shape)

    def backward(self, g: Value) -> Value:
        return ops.broadcast_to(g, self.shape)

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return int(arrays[0].size)


class Mean(Reduction):
    """y = (1/n) sum x;  dx = g / n at every element."""

    def forward(self, x: Array, *, axis: Axis, keepdims: bool) -> Array:
        total = self.xp.add.reduce(x, axis=self.fold(x, axis), keepdims=keepdims)
        return total / (self.count or math.nan)

    def backward(self, g: Value) -> Value:
        return ops.broadcast_to(self.unfold(g / (self.count or math.nan)), self.shape)


class Var(Reduction):
    """y = sum (x - mean x)^2 / (n - correction);  dx = 2 g (x - mean x) / (n - correction)."""

    def forward(self, x: Array, *, axis: Axis, keepdims: bool, correction: float) -> Array:
        axes = self.fold(x, axis)
        freedom = self.count - correction
        self.freedom = freedom if freedom > 0 else math.nan
        self.save(x=x)
        centred = x - self.xp.add.reduce(x, axis=axes, keepdims=True) / (self.count or math.nan)
        return self.xp.add.reduce(centred * centred, axis=axes, keepdims=keepdims) / self.freedom

    def backward(self, g: Value) -> Value:
        x = self.saved.x
        return self.unfold(g * (2 / self.freedom)) * (x - mean(x, self.axes, keepdims=True))

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 4 * int(arrays[0].size)


class Std(Var):
    """y = sqrt(var x);  dx = g (x - mean x) / ((n - correction) y), and 0 where y = 0."""

    def forward(self, x: Array, *, axis: Axis, keepdims: bool, correction: float) -> Array:
        variance = super().forward(x, axis=axis, keepdims=keepdims, correction=correction)
        y = self.xp.sqrt(variance)
        self.save(x=x, y=y)
        return y

    def backward(self, g: Value) -> Value:
        x, y = self.saved.x, self.saved.y
        divisor = self.freedom * ops.where(y == 0, math.inf, y)  # 0 / inf = 0 in every order
        return self.unfold(g / divisor) * (x - mean(x, self.axes, keepdims=True))


class CumSum(Function):
    """y[i] = x[0] + ... + x[i];  dx[i] = g[i] + ... + g[n-1]."""

    def forward(self, x: Array, *, axis: int | None) -> Array:
        if axis is None and x.ndim != 1:
            raise ShapeError(f"cumsum: an array of shape {x.shape} needs an axis to add along.")
        self.axis = axis_from_front("cumsum", 0 if axis is None else axis, x.ndim)
        return self.xp.cumsum(x, axis=self.axis)

    def backward(self, g: Value) -> Value:
        return ops.flip(cumsum(ops.flip(g, self.axis), self.axis), self.axis)


def sum(x: Value, axis: Axis = None, keepdims: bool = False) -> Any:
    """The sum over `axis`, 0 if it is empty. Booleans and short integers add up as int64."""
    return Sum.apply(x, axis=axis, keepdims=keepdims)


def sum_to(x: Value, shape: tuple[int, ...]) -> Any:
    """x summed down to `shape`, which must broadcast to x's: the adjoint of `broadcast_to`."""
    return SumTo.apply(x, shape=shape)


def mean(x: Value, axis: Axis = None, keepdims: bool = False) -> Any:
    """The mean over `axis`; NaN if it is empty. Integers give float64."""
    return Mean.apply(as_floats(x), axis=axis, keepdims=keepdims)


def var(x: Value, axis: Axis = None, keepdims: bool = False, correction: float = 0) -> Any:
    """The mean squared distance from the mean over `axis`, its n replaced by n - correction.

    correction=1 gives the unbiased estimate. NaN unless n > correction. Integers give float64.
    """
    correction = number("var: correction", correction)
    return Var.apply(as_floats(x), axis=axis, keepdims=keepdims, correction=correction)


def std(x: Value, axis: Axis = None, keepdims: bool = False, correction: float = 0) -> Any:
    """The square root of `var`. Where all elements are equal the gradient is 0."""
    correction = number("std: correction", correction)
    return Std.apply(as_floats(x), axis=axis, keepdims=keepdims, correction=correction)


def cumsum(x: Value, axis: int | None = None) -> Any:
    """The running sum along `axis`, which may be left out for a vector.

    Booleans and short integers add up as int64.
    """
    return CumSum.apply(x, axis=axis)


def axes_from_front(op: str, axis: Axis, ndim: int) -> tuple[int, ...]:
    """`axis` as distinct numbers from 0 to ndim - 1."""
    if axis is None:
        return tuple(range(ndim))
    try:
        numbers = [index(a) for a in (axis if isinstance(axis, (tuple, list)) else (axis,))]
    except TypeError as error:
        raise DtypeError(f"{op}: axis is an integer, several or None, not {axis!r}.") from error
    axes = tuple([axis_from_front(op, a, ndim) for a in numbers])
    if len(set(axes)) < len(axes):
        raise ShapeError(f"{op}: axis {axis} names one of the {ndim} axes twice.")
    return axes
