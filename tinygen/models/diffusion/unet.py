"""The U-Net denoiser (Ronneberger et al. 2015; Ho et al. 2020, "Denoising Diffusion Probabilistic
Models", appendix B).

    t (N,) ─▶ time embedding ─┐
    y (N,) ─▶ class embedding ┴─▶ silu ─▶ condition (N, D), given to every ResBlock

    x (N, H, W, channels) ─▶ conv ─▶ level 0: blocks ─────── skips ──────▶ blocks ─▶ norm ─▶ conv
                                         down │                      concat ▲ up
                                              ▼                             │
                                     level 1: blocks ─────── skips ──────▶ blocks
                                         down │                      concat ▲ up
                                              ▼                             │
                                     lowest:  blocks ───────────────────────┘

N images, H rows, W columns, C channels of a level. Level i has width base * multipliers[i] at H/2^i
rows. A level is `blocks` ResBlocks, each followed by self-attention at the heights that ask for it;
on the way up each block first takes its twin's output from the way down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinygen import nn, ops
from tinygen.errors import ShapeError, UsageError
from tinygen.function import Value
from tinygen.nn.sizes import require_sizes, size_tuple
from tinygen.random import Generator


@dataclass(frozen=True)
class UNetConfig:
    """The sizes of a U-Net; UNetConfig(3) suits images of 32 x 32."""

    channels: int
    base: int = 64
    multipliers: tuple[int, ...] = (1, 2, 2)
    blocks: int = 2
    attention: tuple[int, ...] = (16,)
    """Heights, of feature maps of images of `size` rows, at which pixels attend to each other."""
    classes: int | None = None
    size: int = 32
    """Rows and columns of the images that it is built for; others work, at other heights."""
    patch: int = 1
    """Squares of so many pixels a side become the channels of one place, and are laid out again at
    the end (space to depth): the same network at a quarter of the cost for 2."""
    condition: int | None = None
    """Width of the condition: 4 base if left out."""
    groups: int = 8
    head_width: int = 32
    dropout: float = 0.0
    scale_shift: bool = False
    """Whether the condition scales and shifts the norms, instead of being added."""
    upsampling_conv: bool = True
    """Whether a convolution follows each upsampling."""

    def __post_init__(self) -> None:
        names = ("channels", "base", "blocks", "size", "groups", "head_width", "patch")
        require_sizes("UNetConfig", **{name: getattr(self, name) for name in names})
        for name in ("classes", "condition"):
            if getattr(self, name) is not None:
                require_sizes("UNetConfig", **{name: getattr(self, name)})
        for name in ("multipliers", "attention"):
            sizes = size_tuple("UNetConfig", name, getattr(self, name))
            object.__setattr__(self, name, sizes)
        if not self.multipliers:
            raise UsageError("UNetConfig: multipliers are (); give one or more.")
        if self.base % self.groups or self.base % 2:
            raise UsageError(
                f"base {self.base} must be even and a multiple of groups, {self.groups}; such as "
                f"{2 * self.groups * max(1, round(self.base / 2 / self.groups))}."
            )
        if self.size % self.factor:
            raise UsageError(
                f"size {self.size} cannot be cut into patches of {self.patch} and then halved "
                f"{len(self.multipliers) - 1} times; make it a multiple of {self.factor}, or give "
                "fewer multipliers."
            )
        if missing := set(self.attention) - set(self.heights):
            raise UsageError(
                f"attention at height {min(missing)}, but images of {self.size} rows have feature "
                f"maps of {self.heights}; choose among these."
            )
        for height, width in zip(self.heights, self.widths, strict=True):
            if height in self.attention and width % min(self.head_width, width):
                raise UsageError(
                    f"width {width} at height {height} cannot be cut into heads of "
                    f"{self.head_width}; change head_width."
                )

    @property
    def factor(self) -> int:
        """How much smaller the lowest feature maps are."""
        return self.patch * 2 ** (len(self.multipliers) - 1)

    @property
    def heights(self) -> tuple[int, ...]:
        return tuple(self.size // (self.patch * 2**i) for i in range(len(self.multipliers)))

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(self.base * m for m in self.multipliers)


class Block(nn.Module):
    """A ResBlock, then self-attention where there is any."""

    def __init__(
        self, in_channels: int, out_channels: int, attention: bool, c: UNetConfig, *, rng: Generator
    ) -> None:
        self.res = nn.ResBlock(
            in_channels,
            out_channels,
            condition=c.condition or 4 * c.base,
            scale_shift=c.scale_shift,
            groups=c.groups,
            dropout=c.dropout,
            rng=rng,
        )
        heads = out_channels // min(c.head_width, out_channels)
        self.attention = (
            nn.AttentionBlock(out_channels, heads, groups=c.groups, rng=rng) if attention else None
        )

    def forward(self, x: Value, condition: Value) -> Any:
        x = self.res(x, condition)
        return x if self.attention is None else self.attention(x)


class UNet(nn.Module):
    """The model: `model(x, t, y)` gives the prediction, of x's shape.

    It does not know what it predicts (noise, x0, v or a velocity) nor what t means: that is the
    schedule's. The last convolution starts at zero, and so does the prediction.
    """

    def __init__(self, config: UNetConfig, *, rng: Generator) -> None:
        c = self.config = config
        condition = c.condition or 4 * c.base
        self.time = nn.TimestepEmbedding(c.base, condition, rng=rng)
        self.label: nn.ClassEmbedding | None = None
        if c.classes is not None:
            self.label = nn.ClassEmbedding(c.classes, condition, rng=rng)
        pixels = c.channels * c.patch**2
        self.input = nn.Conv2d(pixels, c.base, 3, padding=1, rng=rng)

        width, levels = c.base, list(zip(c.widths, c.heights, strict=True))
        *upper, (lowest, height) = levels
        self.down: list[list[Block]] = []
        self.halve: list[nn.Downsample] = []
        for level_width, level_height in upper:
            attends = level_height in c.attention
            sizes = [width, *[level_width] * c.blocks]
            self.down.append([Block(a, level_width, attends, c, rng=rng) for a in sizes[:-1]])
            self.halve.append(nn.Downsample(level_width, rng=rng))
            width = level_width
        sizes = [width, *[lowest] * (c.blocks - 1)]
        self.middle = [Block(a, lowest, height in c.attention, c, rng=rng) for a in sizes]
        width = lowest
        self.double: list[nn.Upsample] = []
        self.up: list[list[Block]] = []
        for level_width, level_height in reversed(upper):
            attends = level_height in c.attention
            sizes = [width + level_width, *[2 * level_width] * (c.blocks - 1)]
            self.double.append(nn.Upsample(width, conv=c.upsampling_conv, rng=rng))
            self.up.append([Block(a, level_width, attends, c, rng=rng) for a in sizes])
            width = level_width

        self.norm = nn.GroupNorm(c.groups, width, activation="silu")
        self.output = nn.Conv2d(width, pixels, 3, padding=1, rng=rng).zeroed()

    def forward(self, x: Value, t: Value, y: Value = None) -> Any:
        """x (N, H, W, channels), t (N,) of the order of 0 ... 1000, y (N,) class ids -> of x's
        shape. H and W are multiples of `config.factor`. y is for models with classes only; the id
        `classes`, or leaving y out, means "no class".
        """
        self._require_images(x, t)
        condition = self._condition(x.shape[0], t, y)  # (N, D)
        patch = self.config.patch
        x = ops.pixel_unshuffle(x, patch) if patch > 1 else x  # (N, H/p, W/p, channels p p)
        h = self.input(x)  # (N, H/p, W/p, base)
        skips = []
        for blocks, halve in zip(self.down, self.halve, strict=True):
            for block in blocks:
                h = block(h, condition)  # (N, H/p/2^i, W/p/2^i, width of level i)
                skips.append(h)
            h = halve(h)
        for block in self.middle:
            h = block(h, condition)
        for double, blocks in zip(self.double, self.up, strict=True):
            h = double(h)
            for block in blocks:
                h = block(ops.concat([h, skips.pop()], axis=-1), condition)
        h = self.output(self.norm(h))
        return ops.pixel_shuffle(h, patch) if patch > 1 else h

    def _condition(self, n: int, t: Value, y: Value) -> Any:
        condition = self.time(t)
        if self.label is not None:
            condition = condition + self.label.condition(y, n)
        elif y is not None:
            raise UsageError("this U-Net knows no classes: leave y out, or set UNetConfig.classes.")
        return ops.silu(condition)

    def _require_images(self, x: Value, t: Value) -> None:
        c = self.config
        if (
            x.ndim != 4
            or x.shape[3] != c.channels
            or x.shape[1] % c.factor
            or x.shape[2] % c.factor
        ):
            raise ShapeError(
                f"x has shape {x.shape}; this U-Net takes (N, H, W, {c.channels}) with H and W "
                f"multiples of {c.factor}."
            )
        if getattr(t, "shape", None) != (x.shape[0],):
            raise ShapeError(
                f"t has shape {getattr(t, 'shape', None)}; give one time for each of the "
                f"{x.shape[0]} images."
            )
