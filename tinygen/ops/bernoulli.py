"""The negative log-likelihood of many Bernoulli variables at once, such as a binary image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen import ops
from tinygen.backend import Array
from tinygen.errors import ShapeError
from tinygen.function import FusedFunction, Value
from tinygen.ops.checks import same_float_dtype

__all__ = ["bernoulli_nll"]


class BernoulliNLL(FusedFunction):
    """l = sum of softplus(x) - t x over the last axis;  dx = g (sigmoid(x) - t),  dt = -g x."""

    primitives = ("bernoulli_nll_forward",)

    @staticmethod
    def reference(logits: Value, targets: Value) -> Value:
        return ops.sum(ops.softplus(logits) - targets * logits, axis=-1)

    def forward(self, logits: Array, targets: Array) -> Array:
        losses, slope = self.backend.bernoulli_nll_forward(
            logits, targets, with_derivative=bool(self.needs) and self.needs[0]
        )
        self.save(logits=logits, targets=targets, slope=slope)
        return losses

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        saved = self.saved
        g = g[..., None]  # (..., 1)
        dx = None
        if self.needs[0]:
            dx = self.xp.multiply(
                g, saved.slope, out=self.backend.empty(saved.slope.shape, g.dtype)
            )
        return dx, ops.sum_to(-g * saved.logits, saved.targets.shape) if self.needs[1] else None

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 10 * arrays[0].size


def bernoulli_nll(logits: Value, targets: Value) -> Any:
    """-log p(targets) under independent Bernoulli variables of probability sigmoid(logits), in
    nats, summed over the last axis: logits (..., D) -> (...,).

    targets in [0, 1], of the shape of logits or of its last axes: then every leading index of
    logits meets the same targets. One dtype. Equal to the sum of `bce_with_logits` over the last
    axis; in one node, which keeps sigmoid(logits) - targets for the backward pass.
    """
    same_float_dtype("bernoulli_nll", logits=logits, targets=targets)
    missing = logits.ndim - targets.ndim
    if targets.ndim < 1 or missing < 0 or logits.shape[missing:] != targets.shape:
        raise ShapeError(
            f"bernoulli_nll: targets of shape {targets.shape} for logits of shape {logits.shape}; "
            "targets have the shape of logits, or of its last axes."
        )
    return BernoulliNLL.apply(logits, targets)
