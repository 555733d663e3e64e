"""Group norm and instance norm: groups of channels of each image by their own statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen import ops
from tinygen.arguments import integer
from tinygen.backend import Array
from tinygen.errors import ShapeError, UsageError
from tinygen.function import FusedFunction, Value
from tinygen.ops.checks import same_float_dtype
from tinygen.ops.linear import ACTIVATIONS, activated

__all__ = ["group_norm", "instance_norm"]


class GroupNorm(FusedFunction):
    """y = f(u), u = (x - mean) rstd weight + bias over each group of channels and all positions
    (Wu and He 2018, eqs. 1-3).

    With xhat = (x - mean) rstd and h = g f'(u) weight:
    dx = rstd (h - mean(h) - xhat mean(h xhat)),  dweight = sum of g f'(u) xhat,  dbias = sum of
    g f'(u).
    """

    primitives = ("group_norm_forward", "group_norm_backward")

    @staticmethod
    def reference(
        x: Value, weight: Value, bias: Value, *, groups: int, eps: float, activation: str | None
    ) -> Value:
        N, C = x.shape[0], x.shape[-1]
        positions = x.size // max(N * C, 1)
        grouped = ops.reshape(x, (N, positions, groups, C // groups))
        centred = grouped - ops.mean(grouped, axis=(1, 3), keepdims=True)
        variance = ops.mean(centred * centred, axis=(1, 3), keepdims=True)
        u = ops.reshape(centred * ops.rsqrt(variance + eps), x.shape)
        u = u if weight is None else u * weight
        u = u if bias is None else u + bias
        return u if activation is None else activated(u, activation)

    def forward(
        self,
        x: Array,
        weight: Array,
        bias: Array,
        *,
        groups: int,
        eps: float,
        activation: str | None,
    ) -> Array:
        y, mean, rstd, slope = self.backend.group_norm_forward(
            x, groups, weight, bias, eps, activation, with_derivative=bool(self.needs)
        )
        self.save(x=x, weight=weight, mean=mean, rstd=rstd, slope=slope)
        return y

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        s = self.saved
        groups = self.params["groups"]
        return self.backend.group_norm_backward(
            g, s.x, groups, s.weight, s.mean, s.rstd, s.slope, self.needs
        )

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return (7 if self.params["activation"] is None else 11) * outputs[0].size


def group_norm(
    x: Value,
    groups: int,
    weight: Value = None,
    bias: Value = None,
    *,
    eps: float = 1e-5,
    activation: str | None = None,
) -> Any:
    """Each group of channels of each image to mean 0 and variance 1, then scaled and shifted, then
    optionally an activation: "relu", "gelu", "gelu_tanh" or "silu", in the same node.

    x (N, ..., C), weight and bias (C,) -> (N, ..., C); one float dtype. The statistics of a group
    are over its C / groups channels and every position; the variance is the biased one.
    """
    groups = integer("group_norm: groups", groups, 1)
    _check("group_norm", x, weight, bias, eps)
    if x.shape[-1] % groups:
        raise ShapeError(
            f"group_norm: {x.shape[-1]} channels cannot be cut into {groups} groups; x has shape "
            f"{x.shape}."
        )
    if activation is not None and activation not in ACTIVATIONS:
        raise UsageError(
            f"group_norm: unknown activation {activation!r}; use one of {ACTIVATIONS}."
        )
    return GroupNorm.apply(x, weight, bias, groups=groups, eps=eps, activation=activation)


def instance_norm(x: Value, weight: Value = None, bias: Value = None, *, eps: float = 1e-5) -> Any:
    """Each channel of each image to mean 0 and variance 1, then scaled and shifted: group norm with
    groups of one channel (Ulyanov et al. 2016).

    x (N, ..., C), weight and bias (C,) -> (N, ..., C); one float dtype.
    """
    _check("instance_norm", x, weight, bias, eps)
    groups = max(x.shape[-1], 1)
    return GroupNorm.apply(x, weight, bias, groups=groups, eps=eps, activation=None)


def _check(op: str, x: Value, weight: Value, bias: Value, eps: float) -> None:
    same_float_dtype(op, {"weight": weight, "bias": bias}, x=x)
    if x.ndim < 2:
        raise ShapeError(f"{op}: x has shape {x.shape}; it is (N, ..., C).")
    if not eps >= 0:
        raise UsageError(f"{op}: eps is {eps}; it must not be negative.")
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None and value.shape != x.shape[-1:]:
            raise ShapeError(
                f"{op}: {name} has shape {value.shape}, but x has {x.shape[-1]} channels."
            )
