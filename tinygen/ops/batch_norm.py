"""Batch normalisation: each channel by its statistics over the batch, or by running ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen import ops
from tinygen.backend import Array
from tinygen.errors import ShapeError, UsageError
from tinygen.function import FusedFunction, Value
from tinygen.ops.checks import same_float_dtype

__all__ = ["batch_norm"]


class BatchNorm(FusedFunction):
    """y = (x - mean) rstd weight + bias, by channel (Ioffe and Szegedy 2015, algorithm 1).

    With xhat = (x - mean) rstd and h = g weight:  dx = rstd (h - mean(h) - xhat mean(h xhat)) in
    training, where mean and rstd depend on x, and rstd h otherwise. The new running statistics are
    outputs like any other, with derivatives by x and by the old ones.
    """

    primitives = ("batch_norm_forward", "batch_norm_backward")

    @staticmethod
    def reference(
        x: Value,
        mean: Value,
        var: Value,
        weight: Value,
        bias: Value,
        *,
        training: bool,
        momentum: float,
        eps: float,
    ) -> tuple[Value, Value, Value]:
        new_mean, new_var = ops.copy(mean), ops.copy(var)
        if training:
            axes = tuple(range(x.ndim - 1))
            count = x.size // max(x.shape[-1], 1)
            old_mean, old_var = mean, var
            mean = ops.mean(x, axis=axes)  # (C,)
            var = ops.mean(ops.square(x - mean), axis=axes)
            new_mean = (1 - momentum) * old_mean + momentum * mean
            new_var = (1 - momentum) * old_var + momentum * count / (count - 1) * var
        y = (x - mean) * ops.rsqrt(var + eps)
        y = y if weight is None else y * weight
        return y if bias is None else y + bias, new_mean, new_var

    def forward(
        self, x: Array, mean: Array, var: Array, weight: Array, bias: Array, **options: Any
    ) -> tuple[Array, Array, Array]:
        y, new_mean, new_var, used_mean, rstd = self.backend.batch_norm_forward(
            x, mean, var, weight, bias, **options
        )
        self.save(x=x, weight=weight, used_mean=used_mean, rstd=rstd)
        return y, new_mean, new_var

    def backward(self, g: Array, g_mean: Array, g_var: Array) -> tuple[Array | None, ...]:
        s = self.saved
        return self.backend.batch_norm_backward(
            g, g_mean, g_var, s.x, s.weight, s.used_mean, s.rstd, self.needs, **self.params
        )

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return (6 if self.params["training"] else 2) * outputs[0].size


def batch_norm(
    x: Value,
    mean: Value,
    var: Value,
    weight: Value = None,
    bias: Value = None,
    *,
    training: bool,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[Any, Any, Any]:
    """Each channel of x to mean 0 and variance 1, then scaled and shifted -> (y, mean, var).

    x (..., C), the others (C,); one float dtype. In `training` by the statistics of x over all axes
    but the last (its biased variance), and the running ones move towards them:

        new_mean = (1 - momentum) mean + momentum mean(x), and new_var with the unbiased variance

    Otherwise x is normalised by `mean` and `var`, which are returned as they are. Nothing is
    changed in place: to keep the statistics is the caller's part (`nn.BatchNorm2d`).
    """
    same_float_dtype("batch_norm", {"weight": weight, "bias": bias}, x=x, mean=mean, var=var)
    if x.ndim < 2:
        raise ShapeError(f"batch_norm: x has shape {x.shape}; it is (N, ..., C).")
    for name, value in (("mean", mean), ("var", var), ("weight", weight), ("bias", bias)):
        if value is not None and value.shape != x.shape[-1:]:
            raise ShapeError(
                f"batch_norm: {name} has shape {value.shape}, but x has {x.shape[-1]} channels."
            )
    if not eps >= 0 or not 0 <= momentum <= 1:
        raise UsageError(
            f"batch_norm: eps is {eps} and momentum {momentum}; eps must not be negative, and "
            "momentum lies in [0, 1]."
        )
    if training and x.size // max(x.shape[-1], 1) < 2 and x.shape[-1]:
        raise ShapeError(
            f"batch_norm: x of shape {x.shape} has fewer than two values a channel, which have no "
            "variance; train with a larger batch, or use training=False."
        )
    return BatchNorm.apply(
        x, mean, var, weight, bias, training=bool(training), momentum=momentum, eps=eps
    )
