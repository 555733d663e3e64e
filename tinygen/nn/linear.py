"""The affine layer."""

from __future__ import annotations

import math
from typing import Any

from tinygen import ops
from tinygen.function import Value
from tinygen.nn import init
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.nn.sizes import require_sizes
from tinygen.random import Generator


class Linear(Module):
    """y = f(x W^T + b): x (..., in_features) -> (..., out_features).

    weight (out_features, in_features) and bias (out_features,) start as
    U(-1/sqrt(in_features), 1/sqrt(in_features)). f is the identity, or an `activation` of
    `tg.ops.linear` ("relu", "gelu", "gelu_tanh", "silu"), computed in the same node.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        activation: str | None = None,
        rng: Generator,
    ) -> None:
        require_sizes("Linear", in_features=in_features, out_features=out_features)
        shape = (out_features, in_features)
        bound = 1 / math.sqrt(in_features)
        self.weight = Parameter(init.kaiming_uniform(shape, math.sqrt(5), rng=rng))
        self.bias = (
            Parameter(init.uniform((out_features,), -bound, bound, rng=rng)) if bias else None
        )
        self.activation = activation

    def forward(self, x: Value, weight: Value = None) -> Any:
        """With `weight` in place of the layer's own, if it is given."""
        weight = self.weight if weight is None else weight
        return ops.linear(x, weight, self.bias, self.activation)

    def settings(self) -> str:
        out_features, in_features = self.weight.shape
        bias = "" if self.bias is not None else ", bias=False"
        activation = "" if self.activation is None else f", activation={self.activation!r}"
        return f"{in_features} -> {out_features}{bias}{activation}"
