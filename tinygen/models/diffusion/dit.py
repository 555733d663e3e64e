"""The diffusion transformer (Peebles and Xie 2023, "Scalable Diffusion Models with Transformers").

    t (N,) ─▶ time embedding ─┐
    y (N,) ─▶ class embedding ┴─▶ condition (N, C)
                                      │
    x (N, H, W, channels) ─▶ patches ─▶ depth blocks ─▶ adaptive norm ─▶ linear ─▶ pixels again

                     ┌──────────────────────────────────────────────────────────────┐
        a block:     │ x = x + gate1 * attention(norm(x) (1 + scale1) + shift1)       │
                     │ x = x + gate2 *       mlp(norm(x) (1 + scale2) + shift2)       │
                     └──────────────────────────────────────────────────────────────┘

N images, p x p pixels a patch, T = H/p * W/p tokens of width C. The six vectors of a block are
linear in silu(condition), by a map that starts at zero (adaLN-zero): every block starts as the
identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tinygen import nn, ops
from tinygen.backend import Array
from tinygen.errors import ShapeError, UsageError
from tinygen.function import Value
from tinygen.nn.sizes import require_sizes
from tinygen.random import Generator


@dataclass(frozen=True)
class DiTConfig:
    """The sizes of a DiT; DiT-S/2 of the paper is DiTConfig(4, 32, 2, 384, 12, 6, classes=1000)."""

    channels: int
    size: int = 32
    patch: int = 4
    width: int = 192
    depth: int = 6
    n_head: int = 3
    classes: int | None = None
    mlp_ratio: int = 4
    positions: Literal["sincos", "learned"] = "sincos"

    def __post_init__(self) -> None:
        names = ("channels", "size", "patch", "width", "depth", "n_head", "mlp_ratio")
        require_sizes("DiTConfig", **{name: getattr(self, name) for name in names})
        if self.classes is not None:
            require_sizes("DiTConfig", classes=self.classes)
        if self.size % self.patch:
            raise UsageError(
                f"images of {self.size} rows cannot be cut into patches of {self.patch}; make size "
                "a multiple of patch."
            )
        if self.width % self.n_head or self.width % 4:
            raise UsageError(
                f"width {self.width} must be a multiple of 4 and of n_head, {self.n_head}."
            )
        if self.positions not in ("sincos", "learned"):
            raise UsageError(f"positions are {self.positions!r}; use 'sincos' or 'learned'.")


def grid_positions(side: int, width: int) -> Array:
    """(side * side, width), float64: the sinusoids of the row, then those of the column."""
    rows, columns = np.divmod(np.arange(side * side), side)
    halves = [nn.sinusoidal(p.astype("float64"), width // 2) for p in (rows, columns)]
    return np.concatenate(halves, axis=1)


class DiTBlock(nn.Module):
    """Attention and MLP, each between a modulated norm and a gate: x (N, T, C) -> the same."""

    def __init__(self, width: int, n_head: int, hidden: int, *, rng: Generator) -> None:
        self.attn = nn.MultiHeadAttention(width, n_head, rng=rng)
        self.mlp = nn.MLP(width, hidden, activation="gelu_tanh", rng=rng)
        self.modulation = nn.Linear(width, 6 * width, rng=rng).zeroed()

    def forward(self, x: Value, condition: Value) -> Any:
        """`condition` (N, C), after its silu."""
        vectors = ops.expand_dims(self.modulation(condition), 1)  # (N, 1, 6 C)
        shift1, scale1, gate1, shift2, scale2, gate2 = ops.split(vectors, 6, axis=-1)
        h = ops.layer_norm(x, eps=1e-6) * (1.0 + scale1) + shift1
        x = x + gate1 * self.attn(h)
        h = ops.layer_norm(x, eps=1e-6) * (1.0 + scale2) + shift2
        return x + gate2 * self.mlp(h)


class DiT(nn.Module):
    """The model: `model(x, t, y)` gives the prediction, of x's shape; zero at the start."""

    def __init__(self, config: DiTConfig, *, rng: Generator) -> None:
        c = self.config = config
        pixels, tokens = c.patch**2 * c.channels, (c.size // c.patch) ** 2
        self.patches = nn.Linear(pixels, c.width, rng=rng)
        if c.positions == "learned":
            start = nn.init.normal((tokens, c.width), std=0.02, rng=rng)
            self.positions: nn.Parameter | nn.Buffer = nn.Parameter(start)
        else:
            table = grid_positions(c.size // c.patch, c.width)
            self.positions = nn.Buffer(table.astype("float32"))
        self.time = nn.TimestepEmbedding(c.width, c.width, rng=rng)
        self.label: nn.ClassEmbedding | None = None
        if c.classes is not None:
            self.label = nn.ClassEmbedding(c.classes, c.width, rng=rng)
        hidden = c.mlp_ratio * c.width
        self.blocks = [DiTBlock(c.width, c.n_head, hidden, rng=rng) for _ in range(c.depth)]
        self.norm = nn.AdaptiveNorm(c.width, c.width, eps=1e-6, rng=rng)
        self.output = nn.Linear(c.width, pixels, rng=rng).zeroed()

    def forward(self, x: Value, t: Value, y: Value = None) -> Any:
        """x (N, size, size, channels), t (N,) of the order of 0 ... 1000, y (N,) class ids -> of
        x's shape.

        y is for models with classes only; the id `classes`, or leaving y out, means "no class".
        """
        c, side = self.config, self.config.size // self.config.patch
        self._require_images(x, t)
        N = x.shape[0]
        condition = ops.silu(self._condition(N, t, y))  # (N, C)
        h = ops.pixel_unshuffle(x, c.patch)  # (N, side, side, channels p p)
        h = self.patches(ops.reshape(h, (N, side * side, -1))) + self.positions  # (N, T, C)
        for block in self.blocks:
            h = block(h, condition)
        h = self.output(self.norm(h, condition))  # (N, T, channels p p)
        return ops.pixel_shuffle(ops.reshape(h, (N, side, side, h.shape[-1])), c.patch)

    def _condition(self, n: int, t: Value, y: Value) -> Any:
        condition = self.time(t)
        if self.label is not None:
            return condition + self.label.condition(y, n)
        if y is not None:
            raise UsageError("this DiT knows no classes: leave y out, or set DiTConfig.classes.")
        return condition

    def _require_images(self, x: Value, t: Value) -> None:
        c = self.config
        if x.ndim != 4 or x.shape[1:] != (c.size, c.size, c.channels):
            raise ShapeError(
                f"x has shape {x.shape}; this DiT takes (N, {c.size}, {c.size}, {c.channels})."
            )
        if getattr(t, "shape", None) != (x.shape[0],):
            raise ShapeError(
                f"t has shape {getattr(t, 'shape', None)}; give one time for each of the "
                f"{x.shape[0]} images."
            )
