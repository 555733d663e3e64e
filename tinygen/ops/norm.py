"""Normalisation over the last axis: layer norm and RMS norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen import ops
from tinygen.arguments import number
from tinygen.backend import Array
from tinygen.errors import ShapeError
from tinygen.function import FusedFunction, Value
from tinygen.ops.checks import same_float_dtype

__all__ = ["add_layer_norm", "add_rms_norm", "layer_norm", "rms_norm"]


class LayerNorm(FusedFunction):
    """y = (x - mean) rstd weight + bias over the last axis (Ba et al. 2016, eq. 4).

    With xhat = (x - mean) rstd and h = g weight:  dx = rstd (h - mean(h) - xhat mean(h xhat)).
    """

    primitives = ("layer_norm_forward", "layer_norm_backward")

    @staticmethod
    def reference(x: Value, weight: Value, bias: Value, *, eps: float) -> Value:
        centred = x - ops.mean(x, axis=-1, keepdims=True)  # (..., C)
        y = centred * ops.rsqrt(ops.mean(centred * centred, axis=-1, keepdims=True) + eps)
        y = y if weight is None else y * weight
        return y if bias is None else y + bias

    def forward(self, x: Array, weight: Array, bias: Array, *, eps: float) -> Array:
        y, mean, rstd = self.backend.layer_norm_forward(x, weight, bias, eps)
        self.save(x=x, weight=weight, mean=mean, rstd=rstd)
        return y

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        s = self.saved
        return self.backend.layer_norm_backward(g, s.x, s.weight, s.mean, s.rstd, self.needs)

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 7 * outputs[0].size


class RMSNorm(FusedFunction):
    """y = x rstd weight, rstd = 1 / sqrt(mean(x^2) + eps) (Zhang and Sennrich 2019, eq. 4).

    With xhat = x rstd and h = g weight:  dx = rstd (h - xhat mean(h xhat)).
    """

    primitives = ("rms_norm_forward", "rms_norm_backward")

    @staticmethod
    def reference(x: Value, weight: Value, *, eps: float) -> Value:
        y = x * ops.rsqrt(ops.mean(x * x, axis=-1, keepdims=True) + eps)  # (..., C)
        return y if weight is None else y * weight

    def forward(self, x: Array, weight: Array, *, eps: float) -> Array:
        y, rstd = self.backend.rms_norm_forward(x, weight, eps)
        self.save(x=x, weight=weight, rstd=rstd)
        return y

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        s = self.saved
        return self.backend.rms_norm_backward(g, s.x, s.weight, s.rstd, self.needs)

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 4 * outputs[0].size


class AddLayerNorm(FusedFunction):
    """total = x + residual,  y = layer_norm(total): the sum that goes on, and what a branch reads
    of it.  dx = dresidual = dtotal + the gradient of the norm."""

    primitives = ("add_layer_norm_forward", "add_layer_norm_backward")

    @staticmethod
    def reference(
        x: Value, residual: Value, weight: Value, bias: Value, *, eps: float
    ) -> tuple[Value, Value]:
        total = x + residual  # (..., C)
        return LayerNorm.reference(total, weight, bias, eps=eps), total

    def forward(
        self, x: Array, residual: Array, weight: Array, bias: Array, *, eps: float
    ) -> tuple[Array, Array]:
        y, total, mean, rstd = self.backend.add_layer_norm_forward(x, residual, weight, bias, eps)
        self.save(total=total, weight=weight, mean=mean, rstd=rstd)
        return y, total

    def backward(self, g: Array, g_total: Array) -> tuple[Array | None, ...]:
        s, (*either, weight, bias) = self.saved, self.needs
        needs = any(either), weight, bias
        dx, *affine = self.backend.add_layer_norm_backward(
            g, g_total, s.total, s.weight, s.mean, s.rstd, needs
        )
        return dx, dx, *affine

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 8 * outputs[0].size


class AddRMSNorm(FusedFunction):
    """total = x + residual,  y = rms_norm(total);  dx = dresidual = dtotal + the gradient of the
    norm."""

    primitives = ("add_rms_norm_forward", "add_rms_norm_backward")

    @staticmethod
    def reference(x: Value, residual: Value, weight: Value, *, eps: float) -> tuple[Value, Value]:
        total = x + residual  # (..., C)
        return RMSNorm.reference(total, weight, eps=eps), total

    def forward(
        self, x: Array, residual: Array, weight: Array, *, eps: float
    ) -> tuple[Array, Array]:
        y, total, rstd = self.backend.add_rms_norm_forward(x, residual, weight, eps)
        self.save(total=total, weight=weight, rstd=rstd)
        return y, total

    def backward(self, g: Array, g_total: Array) -> tuple[Array | None, ...]:
        s, (*either, weight) = self.saved, self.needs
        dx, dweight = self.backend.add_rms_norm_backward(
            g, g_total, s.total, s.weight, s.rstd, (any(either), weight)
        )
        return dx, dx, dweight

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 5 * outputs[0].size


def layer_norm(x: Value, weight: Value = None, bias: Value = None, *, eps: float = 1e-5) -> Any:
    """Each vector of the last axis to mean 0 and variance 1, then scaled and shifted.

    x (..., C), weight (C,), bias (C,) -> (..., C); one float dtype. The variance is the biased one.
    """
    _check("layer_norm", x, eps, weight=weight, bias=bias)
    return LayerNorm.apply(x, weight, bias, eps=eps)


def rms_norm(x: Value, weight: Value = None, *, eps: float = 1e-6) -> Any:
    """Each vector of the last axis divided by its root mean square, then scaled.

    x (..., C), weight (C,) -> (..., C); one float dtype.
    """
    _check("rms_norm", x, eps, weight=weight)
    return RMSNorm.apply(x, weight, eps=eps)


def add_layer_norm(
    x: Value, residual: Value, weight: Value = None, bias: Value = None, *, eps: float = 1e-5
) -> tuple[Any, Any]:
    """(layer_norm(x + residual), x + residual) in one pass over each.

    x, residual (..., C), weight, bias (C,) -> two of (..., C); one float dtype.
    """
    _check("add_layer_norm", x, eps, weight=weight, bias=bias)
    _check_residual("add_layer_norm", x, residual)
    y, total = AddLayerNorm.apply(x, residual, weight, bias, eps=eps)
    return y, total


def add_rms_norm(
    x: Value, residual: Value, weight: Value = None, *, eps: float = 1e-6
) -> tuple[Any, Any]:
    """(rms_norm(x + residual), x + residual) in one pass over each.

    x, residual (..., C), weight (C,) -> two of (..., C); one float dtype.
    """
    _check("add_rms_norm", x, eps, weight=weight)
    _check_residual("add_rms_norm", x, residual)
    y, total = AddRMSNorm.apply(x, residual, weight, eps=eps)
    return y, total


def _check_residual(op: str, x: Value, residual: Value) -> None:
    same_float_dtype(op, x=x, residual=residual)
    if residual.shape != x.shape:
        raise ShapeError(
            f"{op}: x has shape {x.shape} and residual {residual.shape}; make them equal."
        )


def _check(op: str, x: Value, eps: float, **affine: Value) -> None:
    same_float_dtype(op, affine, x=x)
    number(f"{op}: eps", eps, least=0)
    if x.ndim < 1:
        raise ShapeError(f"{op}: x needs at least one axis to normalise over.")
    for name, value in affine.items():
        if value is not None and value.shape != x.shape[-1:]:
            raise ShapeError(
                f"{op}: {name} has shape {value.shape}, but the last axis of x is {x.shape[-1]}."
            )
