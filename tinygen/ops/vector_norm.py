"""The length of a vector, by several measures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from tinygen import ops
from tinygen.backend import Array
from tinygen.errors import UsageError
from tinygen.function import Value
from tinygen.ops.casting import as_floats
from tinygen.ops.reduction import Axis, Reduction

__all__ = ["norm"]


class Norm2(Reduction):
    """y = sqrt(sum x^2);  dx = g x / y, and 0 where y = 0.

    Where squares leave the range of the dtype, x is first divided by its largest element.
    """

    def forward(self, x: Array, *, axis: Axis, keepdims: bool) -> Array:
        xp, axes = self.xp, self.fold(x, axis)
        limits = xp.finfo(x.dtype)
        with xp.errstate(over="ignore", under="ignore"):
            total = xp.add.reduce(x * x, axis=axes, keepdims=True)
        y = xp.sqrt(total)
        if not ((total > limits.tiny / limits.eps) & (total < math.inf)).all():
            largest = xp.maximum.reduce(xp.abs(x), axis=axes, keepdims=True, initial=0)
            scale = xp.where((largest > 0) & (largest < math.inf), largest, 1)
            ratio = x / scale
            y = scale * xp.sqrt(xp.add.reduce(ratio * ratio, axis=axes, keepdims=True))
        y = y if keepdims else y.squeeze(axes)
        self.save(x=x, y=y)
        return y

    def backward(self, g: Value) -> Value:
        x, y = self.saved.x, self.saved.y
        return self.unfold(g / ops.where(y == 0, math.inf, y)) * x

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 2 * int(arrays[0].size)


class NormP(Reduction):
    """y = (sum |x|^p)^(1/p);  dx = g sign(x) (|x| / y)^(p-1), and 0 where x = 0."""

    def forward(self, x: Array, *, p: float, axis: Axis, keepdims: bool) -> Array:
        xp, axes = self.xp, self.fold(x, axis)
        total = xp.add.reduce(xp.power(xp.abs(x), p), axis=axes, keepdims=keepdims)
        y = xp.power(total, 1 / p)
        self.save(x=x, y=y)
        return y

    def backward(self, g: Value) -> Value:
        x, y = self.saved.x, self.unfold(self.saved.y)
        ratio = ops.abs(ops.where(x == 0, 1, x)) / ops.where(y == 0, 1, y)
        return self.unfold(g) * ops.sign(x) * ops.power(ratio, self.params["p"] - 1)

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 3 * int(arrays[0].size)


def norm(x: Value, ord: float = 2, axis: Axis = None, keepdims: bool = False) -> Any:
    """The vector norm (sum |x|^ord)^(1/ord) over `axis`; over all elements if it is None.

    ord=1 adds absolute values, inf and -inf take the largest and the smallest one, 0 counts the
    elements that are not zero (with gradient 0); any other positive number will do. At x = 0, where
    norms have a kink, the gradient is 0. Integers give float64.
    """
    x = as_floats(x)
    if not isinstance(ord, Real) or not (ord >= 0 or ord == -math.inf):
        raise UsageError(f"norm: ord is 0, inf, -inf or a positive number, not {ord!r}.")
    if ord == 2:
        return Norm2.apply(x, axis=axis, keepdims=keepdims)
    if ord == 1:
        return ops.sum(ops.abs(x), axis, keepdims)
    if ord == math.inf:
        return ops.max(ops.abs(x), axis, keepdims)
    if ord == -math.inf:
        return ops.min(ops.abs(x), axis, keepdims)
    if ord == 0:
        return ops.sum(ops.abs(ops.sign(x)), axis, keepdims)
    return NormP.apply(x, p=ord, axis=axis, keepdims=keepdims)
