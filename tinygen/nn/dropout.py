"""Dropout, with a random stream of its own."""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.arguments import number
from tinygen.function import Value
from tinygen.nn.module import Module
from tinygen.random import Generator


class Dropout(Module):
    """In training, each element is zeroed with probability p and the others scaled by 1 / (1 - p)
    (Srivastava et al. 2014); the identity in eval mode.

    The layer draws from a child of `rng` made at construction. Its name is itself drawn, so that
    layers built from one generator have independent masks; `rng` is moved only if p > 0.
    """

    def __init__(self, p: float, *, rng: Generator) -> None:
        self.p = number("Dropout: p", p, least=0, below=1)
        self.rng = rng.spawn(f"dropout {rng.words(1)[0]}") if p else None

    def forward(self, x: Value) -> Any:
        return ops.dropout(x, self.p, rng=self.rng) if self.training and self.p else x

    def settings(self) -> str:
        return f"p={self.p}"
