"""The largest, the smallest, where they are, and their smooth relative logsumexp.

Axes are given as in `reduction.py`. An empty axis has no extreme: `ShapeError`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tinygen import ops
from tinygen.backend import Array
from tinygen.function import Function, Value
from tinygen.ops.casting import as_floats
from tinygen.ops.reduction import Axis, Reduction

__all__ = ["all", "any", "argmax", "argmin", "logsumexp", "max", "min"]


class Extreme(Reduction):
    """y = an extreme of x;  dx = g shared equally by the elements equal to y."""

    def backward(self, g: Value) -> Value:
        x, y = self.saved.x, self.unfold(self.saved.y)
        tied = ops.equal(x, y)
        ties = ops.sum(tied, self.axes, keepdims=True)
        share = self.unfold(g) / ops.astype(ops.maximum(ties, 1), g.dtype)  # NaN equals nothing
        return ops.where(tied, share, 0)


class Max(Extreme):
    """y = max x;  dx = g / ties where x = y, else 0."""

    def forward(self, x: Array, *, axis: Axis, keepdims: bool) -> Array:
        y = self.xp.maximum.reduce(x, axis=self.fold(x, axis), keepdims=keepdims)
        self.save(x=x, y=y)
        return y


class Min(Extreme):
    """y = min x;  dx = g / ties where x = y, else 0."""

    def forward(self, x: Array, *, axis: Axis, keepdims: bool) -> Array:
        y = self.xp.minimum.reduce(x, axis=self.fold(x, axis), keepdims=keepdims)
        self.save(x=x, y=y)
        return y


class LogSumExp(Reduction):
    """y = log sum e^x = m + log sum e^(x - m), m = max x;
    dx = g e^(x - y) / sum e^(x - y), whose divisor takes the rounding error of a large y away.

    The sum is at least 1 wherever m is finite. If every x is -inf, m stays out of the exponent:
    y = -inf and dx = 0, with no NaN on the way.
    """

    def forward(self, x: Array, *, axis: Axis, keepdims: bool) -> Array:
        xp, axes = self.xp, self.fold(x, axis)
        m = xp.maximum.reduce(x, axis=axes, keepdims=True)
        total = xp.add.reduce(xp.exp(x - xp.where(xp.isfinite(m), m, 0)), axis=axes, keepdims=True)
        y = m + xp.log(xp.maximum(total, 1))
        y = y if keepdims else y.squeeze(axes)
        self.save(x=x, y=y)
        return y

    def backward(self, g: Value) -> Value:
        x, y = self.saved.x, self.unfold(self.saved.y)
        e = ops.exp(x - ops.where(y == -math.inf, 0, y))
        total = ops.sum(e, self.axes, keepdims=True)  # 1, but for the rounding of y; or 0
        return self.unfold(g) / ops.where(total == 0, 1, total) * e

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 4 * int(arrays[0].size)  # maximum, difference, exp, sum


class ArgMax(Function):
    """y = the first index of max x."""

    def forward(self, x: Array, *, axis: int | None, keepdims: bool) -> Array:
        return self.xp.argmax(x, axis=axis, keepdims=keepdims)


class ArgMin(Function):
    """y = the first index of min x."""

    def forward(self, x: Array, *, axis: int | None, keepdims: bool) -> Array:
        return self.xp.argmin(x, axis=axis, keepdims=keepdims)


class AnyTrue(Reduction):
    """y = [some x]."""

    def forward(self, x: Array, *, axis: Axis, keepdims: bool) -> Array:
        return self.xp.logical_or.reduce(x, axis=self.fold(x, axis), keepdims=keepdims)


class AllTrue(Reduction):
    """y = [every x]."""

    def forward(self, x: Array, *, axis: Axis, keepdims: bool) -> Array:
        return self.xp.logical_and.reduce(x, axis=self.fold(x, axis), keepdims=keepdims)


def max(x: Value, axis: Axis = None, keepdims: bool = False) -> Any:
    """The largest element over `axis`, NaN if there is one.

    Equal largest elements share the gradient equally.
    """
    return Max.apply(x, axis=axis, keepdims=keepdims)


def min(x: Value, axis: Axis = None, keepdims: bool = False) -> Any:
    """The smallest element over `axis`, NaN if there is one.

    Equal smallest elements share the gradient equally.
    """
    return Min.apply(x, axis=axis, keepdims=keepdims)


def logsumexp(x: Value, axis: Axis = None, keepdims: bool = False) -> Any:
    """log(sum(e^x)) over `axis`, without overflow; -inf, with gradient 0, if every x is -inf.

    Integers give float64.
    """
    return LogSumExp.apply(as_floats(x), axis=axis, keepdims=keepdims)


def argmax(x: Value, axis: int | None = None, keepdims: bool = False) -> Any:
    """The index (int64) of the first largest element along `axis`; in the flat x if it is None."""
    return ArgMax.apply(x, axis=axis, keepdims=keepdims)


def argmin(x: Value, axis: int | None = None, keepdims: bool = False) -> Any:
    """The index (int64) of the first smallest element along `axis`; in the flat x if it is None."""
    return ArgMin.apply(x, axis=axis, keepdims=keepdims)


def any(x: Value, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether some element over `axis` is true (not 0); False if it is empty."""
    return AnyTrue.apply(x, axis=axis, keepdims=keepdims)


def all(x: Value, axis: Axis = None, keepdims: bool = False) -> Any:
    """Whether every element over `axis` is true (not 0); True if it is empty."""
    return AllTrue.apply(x, axis=axis, keepdims=keepdims)
