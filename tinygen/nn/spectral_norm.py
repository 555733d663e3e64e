"""Spectral normalisation: a layer whose weight has a largest singular value of 1."""

from __future__ import annotations

import math
from typing import Any

from tinygen import ops
from tinygen.arguments import number
from tinygen.backend import Array
from tinygen.errors import UsageError
from tinygen.function import Value
from tinygen.nn.convolution import Conv1d, Conv2d, ConvTranspose2d
from tinygen.nn.embedding import Embedding
from tinygen.nn.linear import Linear
from tinygen.nn.module import Module
from tinygen.nn.parameter import Buffer
from tinygen.nn.sizes import require_sizes
from tinygen.random import Generator


class SpectralNorm(Module):
    """`module` with W / sigma(W) as its weight (Miyato et al. 2018, eq. 7 and algorithm 1).

    sigma is the largest singular value of W as a matrix, with the output channels along one side.
    It is found by power iteration, u and v being the singular vectors so far:

        v = W^T u / |W^T u|,  u = W v / |W v|   (`steps` times a forward pass),   sigma = u^T W v

    The gradient flows through W in both places and takes u and v as constants. They are buffers and
    move in training mode only, not inside `tg.freeze`, and once where `tg.checkpoint` computes a
    pass twice; they start with 15 steps behind them.
    """

    def __init__(
        self, module: Module, *, steps: int = 1, eps: float = 1e-12, rng: Generator
    ) -> None:
        require_sizes("SpectralNorm", steps=steps)
        number("SpectralNorm: eps", eps, above=0)
        if not isinstance(module, (Linear, Conv1d, Conv2d, ConvTranspose2d, Embedding)):
            raise UsageError(
                f"SpectralNorm: {type(module).__name__} is no layer with a weight; wrap a Linear, "
                "a convolution or an Embedding."
            )
        self.module = module
        self.steps, self.eps = steps, eps
        weight = self.matrix(module.weight.data)  # (rows, columns)
        self.u = Buffer(_unit(rng.normal(weight.shape[:1], weight.dtype), eps))
        self.v = Buffer(_unit(rng.normal(weight.shape[1:], weight.dtype), eps))
        self._iterate(weight, 15)

    def forward(self, x: Value) -> Any:
        return self.module(x, self.normalised())

    def normalised(self) -> Value:
        """W / sigma, after `steps` of the power iteration in training mode."""
        weight = self.module.weight
        if self.buffers_move:
            self._iterate(self.matrix(weight.data), self.steps)
        # u and v are replaced, never written to, so an earlier pass keeps those it saw.
        sigma = ops.matmul(ops.matmul(self.u.data, self.matrix(weight)), self.v.data)
        return weight / ops.maximum(sigma, self.eps)

    def sigma(self) -> float:
        """The largest singular value of the weight, as far as the iteration has found it."""
        matrix = self.matrix(self.module.weight.data)
        return float(self.u.data @ matrix @ self.v.data)

    def matrix(self, weight: Value) -> Value:
        """The weight with its output channels along one side: (rows, columns)."""
        if isinstance(self.module, ConvTranspose2d):  # (in, kH, kW, out)
            return ops.reshape(weight, (-1, weight.shape[-1]))
        return ops.reshape(weight, (weight.shape[0], -1))

    def _iterate(self, matrix: Array, steps: int) -> None:
        u = self.u.data
        for _ in range(steps):
            v = _unit(ops.matmul(matrix.T, u), self.eps)
            u = _unit(ops.matmul(matrix, v), self.eps)
        self.u.data, self.v.data = u, v
        self.u.version += 1
        self.v.version += 1

    def settings(self) -> str:
        return "" if self.steps == 1 else f"steps={self.steps}"


def _unit(vector: Array, eps: float) -> Array:
    return vector / max(math.sqrt(float(vector @ vector)), eps)
