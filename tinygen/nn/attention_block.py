"""Self-attention between the pixels of a feature map."""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.function import Value
from tinygen.nn.attention import MultiHeadAttention
from tinygen.nn.group_norm import GroupNorm
from tinygen.nn.module import Module
from tinygen.random import Generator


class AttentionBlock(Module):
    """x + attn(norm(x)), every pixel attending to every other: x (N, H, W, C) -> the same (Ho et
    al. 2020, appendix B). The output map starts at zero, so the block starts as the identity."""

    def __init__(self, channels: int, n_head: int = 1, *, groups: int = 8, rng: Generator) -> None:
        self.norm = GroupNorm(groups, channels)
        self.attn = MultiHeadAttention(channels, n_head, rng=rng)
        self.attn.out.zeroed()

    def forward(self, x: Value) -> Any:
        N, H, W, C = x.shape
        pixels = ops.reshape(self.norm(x), (N, H * W, C))
        return x + ops.reshape(self.attn(pixels), (N, H, W, C))
