"""Softmax and its logarithm over one axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen import ops
from tinygen.backend import Array
from tinygen.function import FusedFunction, Value
from tinygen.ops.checks import same_float_dtype
from tinygen.ops.shape import axis_from_front
from tinygen.tensor import Tensor

__all__ = ["log_softmax", "softmax"]


def largest(x: Value, axis: int) -> Value:
    """max x along `axis`, as a constant: a shift that changes no softmax, whatever it is."""
    return ops.max(x.detach() if isinstance(x, Tensor) else x, axis=axis, keepdims=True)


class Softmax(FusedFunction):
    """y = exp(x) / sum exp(x);  dx = y (g - sum g y)."""

    primitives = ("softmax", "softmax_backward")

    @staticmethod
    def reference(x: Value, *, axis: int) -> Value:
        e = ops.exp(x - largest(x, axis))
        return e / ops.sum(e, axis=axis, keepdims=True)

    def forward(self, x: Array, *, axis: int) -> Array:
        y = self.backend.softmax(x, axis)
        self.save(y=y)
        return y

    def backward(self, g: Array) -> Array:
        return self.backend.softmax_backward(g, self.saved.y, self.params["axis"])

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 5 * outputs[0].size  # maximum, difference, exp, sum, quotient


class LogSoftmax(FusedFunction):
    """y = x - log sum exp(x);  dx = g - exp(y) sum g."""

    primitives = ("log_softmax", "log_softmax_backward")

    @staticmethod
    def reference(x: Value, *, axis: int) -> Value:
        below = x - largest(x, axis)
        return below - ops.log(ops.sum(ops.exp(below), axis=axis, keepdims=True))

    def forward(self, x: Array, *, axis: int) -> Array:
        y = self.backend.log_softmax(x, axis)
        self.save(y=y)
        return y

    def backward(self, g: Array) -> Array:
        return self.backend.log_softmax_backward(g, self.saved.y, self.params["axis"])

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 5 * outputs[0].size


def softmax(x: Value, axis: int = -1) -> Any:
    """exp(x) / sum exp(x) along `axis`, for any float array; never overflows.

    The maximum is subtracted first, so finite inputs of any size give finite results; a slice that
    is all -inf gives NaN, as it has no distribution.
    """
    axis = _checked_axis("softmax", x, axis)
    return Softmax.apply(x, axis=axis) if x.shape[axis] else ops.copy(x)


def log_softmax(x: Value, axis: int = -1) -> Any:
    """log(softmax(x)) along `axis`, accurate where the probability underflows."""
    axis = _checked_axis("log_softmax", x, axis)
    return LogSoftmax.apply(x, axis=axis) if x.shape[axis] else ops.copy(x)


def _checked_axis(op: str, x: Value, axis: int) -> int:
    same_float_dtype(op, x=x)
    return axis_from_front(op, axis, x.ndim)
