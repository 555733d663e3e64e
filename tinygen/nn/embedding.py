"""The table of vectors that stands for tokens, classes or positions."""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.function import Value
from tinygen.nn import init
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.nn.sizes import require_sizes
from tinygen.random import Generator


class Embedding(Module):
    """y = weight[ids]: integer ids (...) in [0, n) -> (..., width). weight (n, width) ~ N(0, 1)."""

    def __init__(self, n: int, width: int, *, rng: Generator) -> None:
        require_sizes("Embedding", n=n, width=width)
        self.weight = Parameter(init.normal((n, width), rng=rng))

    def forward(self, ids: Value, weight: Value = None) -> Any:
        """With `weight` in place of the layer's own, if it is given."""
        return ops.embedding(ids, self.weight if weight is None else weight)

    def settings(self) -> str:
        n, width = self.weight.shape
        return f"{n} x {width}"
