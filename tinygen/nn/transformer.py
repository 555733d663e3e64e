"""The pre-norm transformer block."""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.function import Value
from tinygen.nn.attention import MultiHeadAttention
from tinygen.nn.cache import KeyValueCache
from tinygen.nn.dropout import Dropout
from tinygen.nn.linear import Linear
from tinygen.nn.module import Module
from tinygen.nn.norm import LayerNorm
from tinygen.random import Generator


class MLP(Module):
    """down(f(up(x))): (..., width) -> (..., hidden) -> (..., width)."""

    def __init__(
        self, width: int, hidden: int, bias: bool = True, *, activation: str, rng: Generator
    ) -> None:
        self.up = Linear(width, hidden, bias, activation=activation, rng=rng)
        self.down = Linear(hidden, width, bias, rng=rng)

    def forward(self, x: Value) -> Any:
        return self.down(self.up(x))


class GatedMLP(Module):
    """down(silu(gate(x)) up(x)): (..., width) -> (..., hidden) -> (..., width) (Shazeer 2020,
    arXiv:2002.05202, eq. 6)."""

    def __init__(self, width: int, hidden: int, bias: bool = False, *, rng: Generator) -> None:
        self.gate = Linear(width, hidden, bias, rng=rng)
        self.up = Linear(width, hidden, bias, rng=rng)
        self.down = Linear(hidden, width, bias, rng=rng)

    def forward(self, x: Value) -> Any:
        return self.down(ops.swiglu(self.gate(x), self.up(x)))


class TransformerBlock(Module):
    """x + attn(norm1(x)), then x + mlp(norm2(x)): (B, T, width) -> the same.

    Normalising inside the residual branch keeps the path from the loss to every block free (Xiong
    et al. 2020). `hidden` is 4 width if left out; dropout falls on the output of each branch.
    """

    def __init__(
        self,
        width: int,
        n_head: int,
        *,
        n_kv_head: int | None = None,
        hidden: int | None = None,
        bias: bool = True,
        causal: bool = False,
        dropout: float = 0.0,
        activation: str = "gelu",
        eps: float = 1e-5,
        rng: Generator,
    ) -> None:
        self.norm1 = LayerNorm(width, bias, eps)
        self.attn = MultiHeadAttention(
            width, n_head, n_kv_head=n_kv_head, bias=bias, causal=causal, rng=rng
        )
        self.norm2 = LayerNorm(width, bias, eps)
        self.mlp = MLP(width, hidden or 4 * width, bias, activation=activation, rng=rng)
        self.dropout = [Dropout(dropout, rng=rng) for _ in range(2)]

    def forward(self, x: Value, *, mask: Value = None, cache: KeyValueCache | None = None) -> Any:
        x = x + self.dropout[0](self.attn(self.norm1(x), mask=mask, cache=cache))
        return x + self.dropout[1](self.mlp(self.norm2(x)))
