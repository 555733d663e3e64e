"""The residual block of convolutional networks that are told a time or a class."""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.errors import UsageError
from tinygen.function import Value
from tinygen.nn.adaptive_norm import AdaptiveNorm
from tinygen.nn.convolution import Conv2d
from tinygen.nn.dropout import Dropout
from tinygen.nn.group_norm import GroupNorm
from tinygen.nn.linear import Linear
from tinygen.nn.module import Module
from tinygen.random import Generator


class ResBlock(Module):
    """skip(x) + conv2(silu(norm2(conv1(silu(norm1(x))) + shift(condition)))), with 3x3 convolutions
    and group norms: x (N, H, W, in_channels) -> (N, H, W, out_channels) (Ho et al. 2020, appendix
    B).

    The condition (N, `condition`), where there is one, is added to each pixel through a linear map;
    or, with `scale_shift`, makes the scale and shift of norm2 (Dhariwal and Nichol 2021, section
    3). `skip` is the identity, or a linear map of each pixel where the widths differ. conv2 starts
    at zero, so the block starts as its skip.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        condition: int | None = None,
        scale_shift: bool = False,
        groups: int = 8,
        dropout: float = 0.0,
        rng: Generator,
    ) -> None:
        if scale_shift and condition is None:
            raise UsageError("ResBlock: scale_shift needs the width of the condition.")
        self.norm1 = GroupNorm(groups, in_channels, activation="silu")
        self.conv1 = Conv2d(in_channels, out_channels, 3, padding=1, rng=rng)
        self.shift: Linear | None = None
        self.norm2: GroupNorm | AdaptiveNorm
        if scale_shift and condition is not None:
            self.norm2 = AdaptiveNorm(out_channels, condition, groups=groups, rng=rng)
        else:
            self.shift = None if condition is None else Linear(condition, out_channels, rng=rng)
            self.norm2 = GroupNorm(groups, out_channels, activation="silu")
        self.dropout = Dropout(dropout, rng=rng)
        self.conv2 = Conv2d(out_channels, out_channels, 3, padding=1, rng=rng).zeroed()
        self.skip: Linear | None = None
        if in_channels != out_channels:  # a 1x1 convolution is a linear map of each pixel
            self.skip = Linear(in_channels, out_channels, rng=rng)

    def forward(self, x: Value, condition: Value = None) -> Any:
        h = self.conv1(self.norm1(x))  # (N, H, W, out_channels)
        if isinstance(self.norm2, AdaptiveNorm):
            h = ops.silu(self.norm2(h, condition))
        else:
            if self.shift is not None:
                h = h + ops.expand_dims(self.shift(condition), (1, 2))  # (N, 1, 1, out_channels)
            h = self.norm2(h)
        h = self.conv2(self.dropout(h))
        return (x if self.skip is None else self.skip(x)) + h
