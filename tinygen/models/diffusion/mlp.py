"""A small network for points in the plane and flat images: (x, t, y) -> a prediction like x.

    x (N, ...) ──flatten──▶ input ──▶ depth blocks h + down(silu(up(norm(h)) + cond)) ──▶ output
    t (N,) ──sinusoids──▶ two layers ──(+)──silu──▶ c ──▶ cond = one layer of c, in each block
    y (N,) ──embedding─────────────────┘

N examples, D numbers in an example, W width. The last layer starts at 0: the untrained network
predicts 0 everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tinygen import nn, ops
from tinygen.errors import ShapeError, UsageError
from tinygen.function import Value
from tinygen.models.diffusion.levels import one_each
from tinygen.nn.sizes import require_sizes, size_tuple
from tinygen.random import Generator


@dataclass(frozen=True)
class MLPConfig:
    """The sizes of an `MLPDenoiser`; `classes` labels 0 ... classes-1, and `classes` means none."""

    data_shape: tuple[int, ...]
    width: int = 128
    depth: int = 3
    classes: int | None = None

    def __post_init__(self) -> None:
        require_sizes("MLPConfig", width=self.width, depth=self.depth)
        data_shape = size_tuple("MLPConfig", "data_shape", self.data_shape)
        object.__setattr__(self, "data_shape", data_shape)
        if self.width % 2:
            raise UsageError(
                f"MLPConfig: width is {self.width}; it is even, half for each of sin and cos."
            )
        if self.classes is not None:
            require_sizes("MLPConfig", classes=self.classes)


class Block(nn.Module):
    """h + down(silu(up(norm(h)) + cond(c))): (N, W), (N, W) -> (N, W)."""

    def __init__(self, width: int, *, rng: Generator) -> None:
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width, rng=rng)
        self.cond = nn.Linear(width, 2 * width, bias=False, rng=rng)
        self.down = nn.Linear(2 * width, width, rng=rng)

    def forward(self, h: Value, c: Value) -> Any:
        return h + self.down(ops.silu(self.up(self.norm(h)) + self.cond(c)))


class MLPDenoiser(nn.Module):
    """The network; DDPM, EDM and Flow make a denoiser of it."""

    def __init__(self, config: MLPConfig, *, rng: Generator) -> None:
        c = self.config = config
        self.size = size = math.prod(c.data_shape)
        self.input = nn.Linear(size, c.width, rng=rng)
        self.time = nn.TimestepEmbedding(c.width, c.width, rng=rng)
        self.label: nn.ClassEmbedding | None = None
        if c.classes is not None:
            self.label = nn.ClassEmbedding(c.classes, c.width, rng=rng)
        self.blocks = [Block(c.width, rng=rng) for _ in range(c.depth)]
        self.norm = nn.LayerNorm(c.width)
        self.output = nn.Linear(c.width, size, rng=rng).zeroed()

    def forward(self, x: Value, t: Value, y: Value = None) -> Any:
        """x (N, *data_shape), t a number or (N,), of the order of 0 ... 1000, y (N,) integers or
        None for no class."""
        if x.shape[1:] != self.config.data_shape:
            raise ShapeError(
                f"x has shape {x.shape}, and this network takes (N, *{self.config.data_shape})."
            )
        h = self.input(ops.reshape(x, (len(x), self.size)))  # (N, ...) -> (N, D) -> (N, W)
        c = self._condition(one_each(t, x), y)  # (N, W)
        for block in self.blocks:
            h = block(h, c)
        return ops.reshape(self.output(self.norm(h)), x.shape)  # (N, W) -> (N, D) -> (N, ...)

    def _condition(self, t: Value, y: Value) -> Any:
        condition = self.time(t)
        if self.label is not None:
            condition = condition + self.label.condition(y, len(t))
        elif y is not None:
            raise UsageError("this network knows no classes: leave y out, or set classes=...")
        return ops.silu(condition)
