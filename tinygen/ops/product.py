"""The product over axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod as product
from typing import Any

from tinygen import ops
from tinygen.backend import Array
from tinygen.errors import DtypeError
from tinygen.function import FusedFunction, Value
from tinygen.ops.reduction import Axis, axes_from_front

__all__ = ["prod"]


class Prod(FusedFunction):
    """y = x_1 ... x_n over the last axis;  dx_i = g (x_1 ... x_(i-1)) (x_(i+1) ... x_n).

    There is no division, so a zero is a number like any other.
    """

    @staticmethod
    def reference(x: Value) -> Value:
        """Multiplied in pairs, after filling up with ones to a power of two."""
        n = x.shape[-1]  # x (..., n)
        width = 1 << (n - 1).bit_length() if n else 1
        x = ops.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, width - n)], 1.0)
        while width > 1:
            width //= 2
            x = x[..., :width] * x[..., width:]
        return x[..., 0]

    def forward(self, x: Array) -> Array:
        self.save(x=x)
        return self.xp.multiply.reduce(x, axis=-1)

    def backward(self, g: Array) -> Array:
        x = self.saved.x
        before, after = self.xp.ones_like(x), self.xp.ones_like(x)
        before[..., 1:] = self.xp.cumprod(x[..., :-1], -1)
        after[..., :-1] = self.xp.cumprod(x[..., :0:-1], -1)[..., ::-1]
        return g[..., None] * before * after

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return int(arrays[0].size)


def prod(x: Value, axis: Axis = None, keepdims: bool = False) -> Any:
    """The product over `axis`, 1 if it is empty. Booleans and short integers multiply as int64."""
    if not hasattr(x, "shape"):
        raise DtypeError(f"prod: x is an array or a Tensor, not {type(x).__name__}.")
    folded = axes_from_front("prod", axis, x.ndim)
    kept = [i for i in range(x.ndim) if i not in folded]
    lengths = [x.shape[i] for i in kept]
    rows = ops.permute_dims(x, (*kept, *folded))
    rows = ops.reshape(rows, (*lengths, product(x.shape[i] for i in folded)))  # (..., n)
    y = Prod.apply(rows)
    return ops.expand_dims(y, folded) if keepdims else y
