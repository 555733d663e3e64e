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

__all__ = ["layer_norm", "rms_norm"]


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
