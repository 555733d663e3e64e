"""Half and double the size of feature maps, with learned convolutions."""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.function import Value
from tinygen.nn.convolution import Conv2d
from tinygen.nn.module import Module
from tinygen.random import Generator


class Downsample(Module):
    """A 3x3 convolution of stride 2: x (N, H, W, C) -> (N, ceil(H/2), ceil(W/2), C)."""

    def __init__(self, channels: int, *, rng: Generator) -> None:
        self.conv = Conv2d(channels, channels, 3, stride=2, padding=1, rng=rng)

    def forward(self, x: Value) -> Any:
        return self.conv(x)


class Upsample(Module):
    """Every pixel twice along both axes, then a 3x3 convolution unless `conv` is false:
    x (N, H, W, C) -> (N, 2 H, 2 W, C). Repetition before a convolution leaves no checkerboard, as a
    transposed convolution may (Odena et al. 2016)."""

    def __init__(self, channels: int, *, conv: bool = True, rng: Generator) -> None:
        self.conv = Conv2d(channels, channels, 3, padding=1, rng=rng) if conv else None

    def forward(self, x: Value) -> Any:
        x = ops.resize(x, (2 * x.shape[1], 2 * x.shape[2]))
        return x if self.conv is None else self.conv(x)
