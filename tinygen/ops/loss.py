"""Elementwise losses and Kullback-Leibler divergences, each with a choice of reduction."""

from __future__ import annotations

import math
from typing import Any

from tinygen import ops
from tinygen.arguments import number
from tinygen.backend import Array
from tinygen.errors import ShapeError
from tinygen.function import FusedFunction, Value
from tinygen.ops.checks import known_reduction, same_float_dtype

__all__ = [
    "bce_with_logits",
    "categorical_kl",
    "gaussian_kl",
    "huber_loss",
    "l1_loss",
    "mse_loss",
]


class BCEWithLogits(FusedFunction):
    """l = t softplus(-x) + (1 - t) softplus(x);  dx = g ((1 - t) sigmoid(x) - t sigmoid(-x)),
    dt = -g x.

    No term cancels another: where t = 1 and x is large, l and dx keep the digits that
    softplus(x) - t x and sigmoid(x) - t lose.
    """

    @staticmethod
    def reference(logits: Value, targets: Value) -> Value:
        return targets * ops.softplus(-logits) + (1 - targets) * ops.softplus(logits)

    def forward(self, logits: Array, targets: Array) -> Array:
        """(1 - t) x above 0 and -t x below, plus log(1 + e^-|x|): one exponential."""
        xp = self.xp
        loss = xp.where(logits > 0, 1 - targets, -targets)
        loss *= logits
        loss += xp.log1p(xp.exp(-xp.abs(logits)))
        self.save(logits=logits, targets=targets)
        return loss

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        logits, targets = self.saved.logits, self.saved.targets
        dx = None
        if self.needs[0]:
            dx = (1 - targets) * ops.sigmoid(logits)
            dx -= targets * ops.sigmoid(-logits)
            dx *= g
        return dx, -g * logits if self.needs[1] else None


def mse_loss(x: Value, target: Value, *, reduction: str = "mean") -> Any:
    """(x - target)^2. Same shapes and dtype; reduction "mean", "sum" or "none"."""
    _check("mse_loss", reduction, x=x, target=target)
    return _reduced(ops.square(x - target), reduction)


def l1_loss(x: Value, target: Value, *, reduction: str = "mean") -> Any:
    """|x - target|, with gradient 0 where they are equal. Same shapes and dtype."""
    _check("l1_loss", reduction, x=x, target=target)
    return _reduced(ops.abs(x - target), reduction)


def huber_loss(x: Value, target: Value, *, delta: float = 1.0, reduction: str = "mean") -> Any:
    """d^2 / 2 for |d| <= delta, else delta (|d| - delta / 2), d = x - target (Huber 1964).

    Same shapes and dtype; delta > 0.
    """
    _check("huber_loss", reduction, x=x, target=target)
    number("huber_loss: delta", delta, above=0)
    d = x - target
    near = ops.clip(d, -delta, delta)  # both branches in one: near (d - near / 2)
    return _reduced(ops.multiply(near, d - 0.5 * near), reduction)


def bce_with_logits(logits: Value, targets: Value, *, reduction: str = "mean") -> Any:
    """-t log sigmoid(x) - (1 - t) log(1 - sigmoid(x)) for targets t in [0, 1], in nats.

    Neither overflows nor cancels, in value and gradient. Same shapes and dtype.
    """
    _check("bce_with_logits", reduction, logits=logits, targets=targets)
    return _reduced(BCEWithLogits.apply(logits, targets), reduction)


def gaussian_kl(
    mu: Value, logvar: Value, mu2: Value = None, logvar2: Value = None, *, reduction: str = "mean"
) -> Any:
    """KL(N(mu, e^logvar) || N(mu2, e^logvar2)) elementwise, in nats; the second is N(0, 1) if left
    out (Kingma and Welling 2014, appendix B).

    (logvar2 - logvar + (e^logvar + (mu - mu2)^2) e^-logvar2 - 1) / 2. Sum over the latent axis
    yourself: "mean" is over all elements.
    """
    _check("gaussian_kl", reduction, mu=mu, logvar=logvar, mu2=mu2, logvar2=logvar2)
    d = mu if mu2 is None else mu - mu2
    if logvar2 is None:  # expm1: a nearly standard normal has a small KL
        return _reduced(ops.multiply(ops.expm1(logvar) - logvar + d * d, 0.5), reduction)
    ratio = logvar - logvar2
    kl = ops.multiply(ops.expm1(ratio) - ratio + d * d * ops.exp(-logvar2), 0.5)
    return _reduced(kl, reduction)


def categorical_kl(
    logits: Value, logits2: Value = None, *, axis: int = -1, reduction: str = "mean"
) -> Any:
    """KL(softmax(logits) || softmax(logits2)) over `axis`, in nats; against the uniform
    distribution if the second is left out.

    sum p (log p - log q). The axis is summed; `reduction` is over the others.
    """
    _check("categorical_kl", reduction, logits=logits, logits2=logits2)
    log_p = ops.log_softmax(logits, axis=axis)
    if logits2 is None:
        log_q: Value = -math.log(max(1, logits.shape[axis]))
    else:
        log_q = ops.log_softmax(logits2, axis=axis)
    # What cannot be (a logit of -inf) adds 0 log 0 = 0.
    log_ratio = ops.where(log_p > -math.inf, log_p - log_q, 0.0)
    return _reduced(ops.sum(ops.exp(log_p) * log_ratio, axis=axis), reduction)


def _check(op: str, reduction: str, **values: Value) -> None:
    known_reduction(op, reduction)
    optional = {name: values.pop(name, None) for name in ("mu2", "logvar2", "logits2")}
    same_float_dtype(op, optional, **values)
    values |= optional
    shapes = {name: value.shape for name, value in values.items() if value is not None}
    if len(set(shapes.values())) > 1:
        given = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ShapeError(f"{op}: all inputs have one shape, and these are {given}.")


def _reduced(losses: Value, reduction: str) -> Value:
    if reduction == "none":
        return losses
    return ops.sum(losses) if reduction == "sum" else ops.mean(losses)
