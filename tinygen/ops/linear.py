"""The affine map of a layer, with its activation in the same node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen import ops
from tinygen.backend import Array
from tinygen.errors import ShapeError
from tinygen.function import FusedFunction, Value
from tinygen.ops.checks import one_of, same_float_dtype

__all__ = ["linear"]

ACTIVATIONS = ("relu", "gelu", "gelu_tanh", "silu")


class Linear(FusedFunction):
    """y = f(x W^T + b);  with u = g f'(x W^T + b):  dx = u W,  dW = u^T x,  db = sum of u."""

    primitives = ("linear_forward", "linear_backward")

    @staticmethod
    def reference(x: Value, weight: Value, bias: Value, *, activation: str | None) -> Value:
        y = ops.matmul(x, ops.matrix_transpose(weight))  # (..., K) @ (K, N)
        if bias is not None:
            y = y + bias
        return y if activation is None else activated(y, activation)

    def forward(self, x: Array, weight: Array, bias: Array, *, activation: str | None) -> Array:
        y, slope = self.backend.linear_forward(
            x, weight, bias, activation, with_derivative=bool(self.needs)
        )
        self.save(x=x, weight=weight, slope=slope)
        return y

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        saved = self.saved
        return self.backend.linear_backward(g, saved.x, saved.weight, saved.slope, self.needs)

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 2 * outputs[0].size * arrays[1].shape[1]


def linear(x: Value, weight: Value, bias: Value = None, activation: str | None = None) -> Any:
    """`x W^T + b`, then optionally an activation: "relu", "gelu", "gelu_tanh" or "silu".

    x (..., K), weight (N, K), bias (N,) -> (..., N). All of one float dtype. In one node: the
    bias and the activation are applied to the product while it is in cache, and the activation's
    derivative is kept instead of its input.
    """
    same_float_dtype("linear", {"bias": bias}, x=x, weight=weight)
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"linear: x has shape {x.shape} and weight {weight.shape}; the last axis of x must "
            "equal the second of weight (out_features, in_features)."
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(
            f"linear: bias has shape {bias.shape}, but weight gives {weight.shape[0]}."
        )
    if activation is not None:
        one_of("linear", "activation", activation, ACTIVATIONS)
    return Linear.apply(x, weight, bias, activation=activation)


def activated(y: Value, activation: str) -> Value:
    if activation == "gelu_tanh":
        return ops.gelu(y, approximate="tanh")
    return {"relu": ops.relu, "gelu": ops.gelu, "silu": ops.silu}[activation](y)
