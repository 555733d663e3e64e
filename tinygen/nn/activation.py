"""Activations as modules, for `Sequential`; each is one call of the op of that name."""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.function import Value
from tinygen.nn.module import Module


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Value) -> Any:
        return ops.relu(x)


class LeakyReLU(Module):
    """x where positive, `slope` x elsewhere."""

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = slope

    def forward(self, x: Value) -> Any:
        return ops.leaky_relu(x, self.slope)

    def settings(self) -> str:
        return f"slope={self.slope}"


class SiLU(Module):
    """x sigmoid(x)."""

    def forward(self, x: Value) -> Any:
        return ops.silu(x)


class GELU(Module):
    """x Phi(x), Phi the normal distribution function; "tanh" approximates it."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Value) -> Any:
        return ops.gelu(x, approximate=self.approximate)

    def settings(self) -> str:
        return "" if self.approximate == "none" else f"approximate={self.approximate!r}"


class Tanh(Module):
    """tanh x."""

    def forward(self, x: Value) -> Any:
        return ops.tanh(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Value) -> Any:
        return ops.sigmoid(x)


class Softplus(Module):
    """log(1 + exp(x))."""

    def forward(self, x: Value) -> Any:
        return ops.softplus(x)
