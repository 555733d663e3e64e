"""Cross-entropy straight from the features before the last linear map, without all the logits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tinygen import ops
from tinygen.arguments import number
from tinygen.backend import Array
from tinygen.errors import ShapeError
from tinygen.function import FusedFunction, Value
from tinygen.ops.checks import one_of, same_float_dtype, whole
from tinygen.ops.cross_entropy import CrossEntropy, classes_of

__all__ = ["linear_cross_entropy"]


class LinearCrossEntropy(FusedFunction):
    """l = the sum over rows of CrossEntropy(x W^T);  with p = dl/d(x W^T):  dx = p W,  dW = p^T x.

    The gradients are made in forward, a block of rows at a time, while its logits are there;
    backward multiplies them by g. So the memory is that of a block, not of all logits.
    """

    primitives = ("linear_cross_entropy",)

    @staticmethod
    def reference(x: Value, weight: Value, targets: Array, **options: Any) -> Value:
        return ops.sum(CrossEntropy.apply(ops.linear(x, weight), targets, **options))

    def forward(self, x: Array, weight: Array, targets: Array, **options: Any) -> Array:
        needs = self.needs[:2] or (False, False)
        total, dx, dweight = self.backend.linear_cross_entropy(x, weight, targets, needs, **options)
        self.save(x=x, weight=weight, dx=dx, dweight=dweight)
        return total

    def backward(self, g: Array) -> tuple[Array | None, Array | None, None]:
        s = self.saved
        return (
            None if s.dx is None else g * s.dx,
            None if s.dweight is None else g * s.dweight,
            None,
        )

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        x, weight = arrays[:2]
        products = 1 + sum(self.needs[:2])
        return len(x) * len(weight) * (2 * products * x.shape[-1] + 5)


def linear_cross_entropy(
    x: Value,
    weight: Value,
    targets: Array,
    *,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    z_loss: float = 0.0,
) -> Any:
    """`cross_entropy(linear(x, weight), targets, ...)` in the memory of some rows of logits.

    x (..., C), weight (V, C), both of one float dtype; targets (...) integers. The options are
    those of `cross_entropy`, and `reduction` is "mean" or "sum": the gradients are made together
    with the loss, which must be one number. For a vocabulary of 50,000 the logits and their
    gradient are most of a language model's memory otherwise.
    """
    name = "linear_cross_entropy"
    one_of(name, "reduction", reduction, ("mean", "sum"))
    same_float_dtype(name, x=x, weight=weight)
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1] or not len(weight):
        raise ShapeError(
            f"{name}: x has shape {x.shape} and weight {weight.shape}; the last axis of x must "
            "equal the second of weight (classes, features), and there must be classes."
        )
    if ignore_index is not None:
        ignore_index = whole(name, "ignore_index", ignore_index)
    options = {
        "label_smoothing": number(f"{name}: label_smoothing", label_smoothing, least=0, most=1),
        "ignore_index": ignore_index,
        "z_loss": number(f"{name}: z_loss", z_loss),
    }
    classes = classes_of(name, targets, (*x.shape[:-1], len(weight)), ignore_index)
    counted = classes.size if ignore_index is None else int((classes != ignore_index).sum())
    rows = ops.reshape(x, (classes.size, x.shape[-1]))
    total = LinearCrossEntropy.apply(rows, weight, classes, **options)
    if reduction == "sum":
        return total
    if not counted:  # the mean of nothing; its gradients are zero all the same
        return ops.add(total, math.nan)
    return ops.multiply(total, 1 / counted)
