"""Normalisation over the last axis."""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.function import Value
from tinygen.nn import init
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.nn.sizes import require_sizes


class LayerNorm(Module):
    """Mean 0 and variance 1 over the last axis, then weight and bias (Ba et al. 2016, eq. 4)."""

    def __init__(self, width: int, bias: bool = True, eps: float = 1e-5) -> None:
        require_sizes("LayerNorm", width=width)
        self.weight = Parameter(init.ones((width,)))
        self.bias = Parameter(init.zeros((width,))) if bias else None
        self.eps = eps

    def forward(self, x: Value) -> Any:
        return ops.layer_norm(x, self.weight, self.bias, eps=self.eps)

    def settings(self) -> str:
        return f"{self.weight.size}{'' if self.bias is not None else ', bias=False'}"


class RMSNorm(Module):
    """Root mean square 1 over the last axis, then weight (Zhang and Sennrich 2019, eq. 4)."""

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        require_sizes("RMSNorm", width=width)
        self.weight = Parameter(init.ones((width,)))
        self.eps = eps

    def forward(self, x: Value) -> Any:
        return ops.rms_norm(x, self.weight, eps=self.eps)

    def settings(self) -> str:
        return str(self.weight.size)
