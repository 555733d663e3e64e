"""A small network for points in the plane and flat images: (x, t, y) -> a prediction like x.

    x (N, ...) ──flatten──▶ inp ──▶ depth blocks: h = h + down(silu(up(norm(h)) + cond)) ──▶ out
    t (N,) ──sinusoids──▶ two layers ──(+)──▶ c ──▶ cond = one layer of c, in each block
    y (N,) ──embedding─────────────────┘

N examples, D numbers in an example, W width. The last layer starts at 0: the untrained network
predicts 0 everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen import nn, ops
from tinygen.backend import backend_of
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.function import Value
from tinygen.models.diffusion.levels import one_each
from tinygen.nn.sizes import require_sizes
from tinygen.random import Generator
from tinygen.tensor import Tensor


@dataclass(frozen=True)
class MLPConfig:
    """The sizes of an `MLPDenoiser`; `classes` labels 0 ... classes-1, and `classes` means none."""

    data_shape: tuple[int, ...]
    width: int = 128
    depth: int = 3
    classes: int | None = None

    def __post_init__(self) -> None:
        require_sizes("MLPConfig", width=self.width, depth=self.depth)
        for size in self.data_shape:
            require_sizes("MLPConfig", data_shape=size)
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
        size = math.prod(c.data_shape)
        self.inp = nn.Linear(size, c.width, rng=rng)
        self.time = nn.MLP(c.width, c.width, activation="silu", rng=rng)
        self.label = None if c.classes is None else nn.Embedding(c.classes + 1, c.width, rng=rng)
        self.blocks = [Block(c.width, rng=rng) for _ in range(c.depth)]
        self.norm = nn.LayerNorm(c.width)
        self.out = nn.Linear(c.width, size, rng=rng)
        self.out.weight.data[...] = 0

    def forward(self, x: Value, t: Value, y: Value = None) -> Any:
        """x (N, *data_shape), t a number or (N,), of the order of 0 ... 1000, y (N,) integers or
        None for no class."""
        if x.shape[1:] != self.config.data_shape:
            raise ShapeError(
                f"x has shape {x.shape}, and this network takes (N, *{self.config.data_shape})."
            )
        h = self.inp(ops.reshape(x, (len(x), -1)))  # (N, ...) -> (N, D) -> (N, W)
        c = ops.silu(self._condition(one_each(t, x), y))  # (N, W)
        for block in self.blocks:
            h = block(h, c)
        return ops.reshape(self.out(self.norm(h)), x.shape)  # (N, W) -> (N, D) -> (N, ...)

    def _condition(self, t: Value, y: Value) -> Any:
        condition = self.time(sinusoids(t, self.config.width))
        if self.label is None:
            if y is not None:
                raise UsageError("this network has no classes; leave y out, or set classes=...")
            return condition
        if y is None:
            y = np.full(t.shape, self.config.classes)
        elif y.shape != t.shape or y.dtype.kind not in "iu":
            raise DtypeError(f"y is {y.dtype}{list(y.shape)}; give integers {list(t.shape)}.")
        return condition + self.label(y)


def sinusoids(t: Value, width: int, *, longest: float = 10000.0) -> Any:
    """[cos(w t), sin(w t)] at width / 2 frequencies w from 1 towards 1 / longest, geometrically
    (Vaswani et al. 2017, section 3.5; Ho et al. 2020 use them for time): (N,) -> (N, width)."""
    half = width // 2
    frequencies = np.exp(-math.log(longest) * np.arange(half) / half).astype(t.dtype)
    backend = backend_of([t.data if isinstance(t, Tensor) else t])
    angles = ops.reshape(t, (-1, 1)) * backend.asarray(frequencies)  # (N, 1) (W/2,) -> (N, W/2)
    return ops.concat([ops.cos(angles), ops.sin(angles)], axis=-1)
