"""Cross-entropy from logits: the loss of every model that predicts a class or a token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tinygen import ops
from tinygen.arguments import FLOATS, number
from tinygen.backend import Array
from tinygen.errors import DtypeError, OutOfRangeError, ShapeError, UsageError
from tinygen.function import FusedFunction, Value
from tinygen.ops.checks import known_reduction, same_float_dtype, whole
from tinygen.tensor import plain

__all__ = ["cross_entropy"]


class CrossEntropy(FusedFunction):
    """l = lse(x) - (1 - s) x[t] - s mean(x) + z lse(x)^2 per row; s smooths the label, z the lse.

    dx = g ((1 + 2 z lse) softmax(x) - (1 - s) onehot(t) - s / V), zero on ignored rows. The
    z-loss keeps lse near 0 (Chowdhery et al. 2022, PaLM, section 5).
    """

    primitives = ("cross_entropy_forward", "cross_entropy_backward")

    @staticmethod
    def reference(
        logits: Value,
        targets: Array,
        *,
        label_smoothing: float,
        ignore_index: int | None,
        z_loss: float,
    ) -> Value:
        kept = None if ignore_index is None else ops.not_equal(targets, ignore_index)  # (N,)
        if kept is not None:  # an ignored row may hold anything, NaN too
            logits = ops.where(ops.expand_dims(kept, -1), logits, 0.0)
            targets = ops.where(kept, targets, 0)
        log_p = ops.log_softmax(logits, axis=-1)  # (N, V)
        picked = ops.take_along_axis(log_p, ops.expand_dims(targets, -1), axis=-1)  # (N, 1)
        losses = (label_smoothing - 1) * ops.squeeze(picked, -1)
        if label_smoothing:
            losses = losses - label_smoothing * ops.mean(log_p, axis=-1)
        if z_loss:
            losses = losses + z_loss * ops.square(ops.logsumexp(logits, axis=-1))
        return losses if kept is None else ops.where(kept, losses, 0.0)

    def forward(self, logits: Array, targets: Array, **options: Any) -> Array:
        losses, residual = self.backend.cross_entropy_forward(logits, targets, **options)
        self.save(logits=logits, targets=targets, residual=residual)
        return losses

    def backward(self, g: Array) -> tuple[Array, None]:
        s = self.saved
        dx = self.backend.cross_entropy_backward(g, s.logits, s.residual, s.targets, **self.params)
        return dx, None

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 5 * arrays[0].size


class SoftCrossEntropy(FusedFunction):
    """l = (sum p) lse(x) - sum p x + z lse(x)^2 per row, for a distribution p over the classes.

    dx = g ((sum p + 2 z lse) softmax(x) - p);  dp = g (lse - x).
    """

    primitives = ("soft_cross_entropy_forward", "soft_cross_entropy_backward")

    @staticmethod
    def reference(logits: Value, targets: Value, *, z_loss: float) -> Value:
        log_p = ops.log_softmax(logits, axis=-1)  # (N, V)
        possible = ops.logical_or(log_p > -math.inf, targets != 0)
        losses = -ops.sum(targets * ops.where(possible, log_p, 0.0), axis=-1)
        return losses + z_loss * ops.square(ops.logsumexp(logits, axis=-1)) if z_loss else losses

    def forward(self, logits: Array, targets: Array, *, z_loss: float) -> Array:
        losses, residual = self.backend.soft_cross_entropy_forward(logits, targets, z_loss)
        self.save(logits=logits, targets=targets, residual=residual)
        return losses

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        s = self.saved
        z_loss = self.params["z_loss"]
        return self.backend.soft_cross_entropy_backward(
            g, s.logits, s.residual, s.targets, z_loss, self.needs
        )

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 7 * arrays[0].size


def cross_entropy(
    logits: Value,
    targets: Value,
    *,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    z_loss: float = 0.0,
) -> Any:
    """-log softmax(logits)[target], in nats; the classes are on the last axis.

    logits (..., V); targets either integers (...) or distributions (..., V) of logits' dtype.
    `label_smoothing` s mixes the target with the uniform distribution, (1 - s) p + s / V. Rows
    whose target is `ignore_index` count neither in the sum nor in the mean (over no rows at all,
    the mean is NaN). `z_loss` adds z log(sum exp)^2. reduction "mean", "sum" or "none".
    """
    known_reduction("cross_entropy", reduction)
    same_float_dtype("cross_entropy", logits=logits)
    if ignore_index is not None:
        ignore_index = whole("cross_entropy", "ignore_index", ignore_index)
    z_loss = number("cross_entropy: z_loss", z_loss)
    number("cross_entropy: label_smoothing", label_smoothing, least=0, most=1)
    if logits.ndim < 1 or logits.shape[-1] == 0:
        raise ShapeError(f"cross_entropy: logits of shape {logits.shape} have no classes.")
    lead = logits.shape[:-1]
    rows = ops.reshape(logits, (-1, logits.shape[-1])) if logits.size else logits
    rows = rows if logits.size else ops.reshape(logits, (0, logits.shape[-1]))
    if getattr(targets, "dtype", None) is not None and targets.dtype.kind in FLOATS:
        losses = _soft(logits, rows, targets, label_smoothing, ignore_index, z_loss)
        counted: Any = losses.size
    else:
        classes = classes_of("cross_entropy", targets, logits.shape, ignore_index)
        losses = CrossEntropy.apply(
            rows,
            classes,
            label_smoothing=label_smoothing,
            ignore_index=ignore_index,
            z_loss=z_loss,
        )
        counted = classes.size if ignore_index is None else int((classes != ignore_index).sum())
    if reduction == "none":
        return ops.reshape(losses, lead)
    total = ops.sum(losses)
    if reduction == "sum":
        return total
    return ops.multiply(total, 1 / counted if counted else math.nan)


def _soft(
    logits: Value, rows: Value, targets: Value, smoothing: float, ignore: int | None, z_loss: float
) -> Value:
    same_float_dtype("cross_entropy", logits=logits, targets=targets)
    if targets.shape != logits.shape:
        raise ShapeError(
            f"cross_entropy: distributions of shape {targets.shape} for logits of shape "
            f"{logits.shape}; they must be equal, or give integer targets."
        )
    if ignore is not None:
        raise UsageError("cross_entropy: ignore_index is for integer targets.")
    soft = ops.reshape(targets, rows.shape)
    if smoothing:
        soft = (1 - smoothing) * soft + smoothing / rows.shape[-1]
    return SoftCrossEntropy.apply(rows, soft, z_loss=z_loss)


def classes_of(op: str, targets: Value, logits: tuple[int, ...], ignore_index: int | None) -> Array:
    """The integer targets of logits of this shape, as a flat array, checked."""
    classes = plain(targets)
    if getattr(getattr(classes, "dtype", None), "kind", None) not in ("i", "u"):
        raise DtypeError(
            f"{op}: targets are integers (classes) or floats (distributions), not "
            f"{getattr(classes, 'dtype', type(classes).__name__)}."
        )
    if classes.shape != logits[:-1]:
        raise ShapeError(
            f"{op}: targets of shape {classes.shape} for logits of shape {logits}; "
            "there must be one target per row of logits."
        )
    classes = classes.reshape(-1)
    wrong = (classes < 0) | (classes >= logits[-1])
    if ignore_index is not None:
        wrong &= classes != ignore_index
    if wrong.any():
        raise OutOfRangeError(
            f"{op}: target {int(classes[wrong][0])} is not a class: there are {logits[-1]}."
        )
    return classes
