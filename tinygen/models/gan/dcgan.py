"""The convolutional bodies of DCGAN (Radford et al. 2016, section 3 and figure 1).

    G   z ─ linear ─▶ (4, 4, 4 base) ─ norm, ReLU ─ up ─▶ (8, 8, 2 base) ─ norm, ReLU ─ up ─▶
        (16, 16, base) ─ norm, ReLU ─ up ─▶ (32, 32, C) ─ tanh ─▶ x
    D   x ─ down ─▶ (16, 16, base) ─ leaky ReLU ─ down ─▶ (8, 8, 2 base) ─ norm, leaky ReLU ─
        down ─▶ (4, 4, 4 base) ─ norm, leaky ReLU ─ flat ─▶ features

An "up" is a transposed convolution, a "down" a convolution, both 4x4 of stride 2: each output of
the one and each input of the other meets the same number of weights, so no checkerboard is built
in. Sides are halved while they are even and above 4: 8 and 16 and 32 end at 4, 28 ends at 7. Norms
follow the configuration; none at G's last layer and D's first.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from tinygen import nn, ops
from tinygen.errors import UsageError
from tinygen.function import Value
from tinygen.models.gan.config import GANConfig
from tinygen.models.gan.mlp import normalised
from tinygen.nn import init
from tinygen.random import Generator as Random

STD = 0.02
"""Of the initial weights."""


def stages(config: GANConfig) -> tuple[list[int], tuple[int, int]]:
    """Channels from next to the image inwards, base, 2 base, ..., and the innermost sides."""
    h, w, _ = config.data_shape
    channels: list[int] = []
    while h % 2 == 0 and w % 2 == 0 and h > 4 and w > 4:
        h, w = h // 2, w // 2
        channels.append(config.base * 2 ** len(channels))
    if not channels:
        raise UsageError(
            f"DCGAN: images of {config.data_shape[0]}x{config.data_shape[1]} cannot be halved; use "
            "sides that are even and above 4, such as 8, 16, 28 or 32, or pad them."
        )
    return channels, (h, w)


class ClassBatchNorm(nn.Module):
    """Batch norm, then weight and bias of the image's class: x (N, H, W, C), y (N,) (Dumoulin et
    al. 2017; Miyato and Koyama 2018, appendix A).

    They start at N(1, 0.2^2) and N(0, 0.2^2), so that the classes differ from the first step on:
    from 1 and 0, MNIST's classes need twice as many steps to part. Unlike a vector beside z, they
    cannot drown z: the norm gives z's share of the variation back to it in every layer.
    """

    def __init__(self, channels: int, classes: int, *, rng: Random) -> None:
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.weight = nn.Parameter(init.normal((classes, channels), 1.0, 0.2, rng=rng))
        self.bias = nn.Parameter(init.normal((classes, channels), 0.0, 0.2, rng=rng))

    def forward(self, x: Value, y: Value) -> Any:
        shape = (x.shape[0], 1, 1, x.shape[-1])
        weight, bias = (ops.reshape(ops.embedding(y, t), shape) for t in (self.weight, self.bias))
        return self.norm(x) * weight + bias


class DCGANGenerator(nn.Module):
    """z (N, inputs) -> x (N, H, W, C) in (-1, 1)."""

    def __init__(self, config: GANConfig, inputs: int, *, rng: Random) -> None:
        channels, self.sides = stages(config)
        self.config, plain = config, config.generator_norm == "none"
        inner = channels[::-1]  # from the latent vector outwards
        self.inner = inner[0]
        self.project = nn.Linear(inputs, math.prod(self.sides) * inner[0], bias=plain, rng=rng)
        self.norms = [] if plain else [_norm(config, width, rng) for width in inner]
        self.ups = [
            nn.ConvTranspose2d(a, b, 4, stride=2, padding=1, bias=plain, rng=rng)
            for a, b in pairwise(inner)
        ]
        image = config.data_shape[2]
        self.ups.append(nn.ConvTranspose2d(inner[-1], image, 4, stride=2, padding=1, rng=rng))
        start_small([self.project, *self.ups], rng)

    def forward(self, z: Value, y: Value = None) -> Any:
        h = ops.reshape(self.project(z), (z.shape[0], *self.sides, self.inner))
        for i, up in enumerate(self.ups):
            h = up(ops.relu(self._normed(i, h, y)))  # sides double
        return ops.tanh(h)

    def _normed(self, i: int, h: Value, y: Value) -> Any:
        if not self.norms:
            return h
        return self.norms[i](h, y) if self.config.conditioning == "batch_norm" else self.norms[i](h)


class DCGANFeatures(nn.Module):
    """x (N, H, W, C) -> (N, features)."""

    def __init__(self, config: GANConfig, *, rng: Random) -> None:
        channels, sides = stages(config)
        batch = config.discriminator_norm == "batch"
        downs = [
            nn.Conv2d(a, b, 4, stride=2, padding=1, bias=not batch or i == 0, rng=rng)
            for i, (a, b) in enumerate(
                zip((config.data_shape[2], *channels), channels, strict=False)
            )
        ]
        start_small(downs, rng)
        self.downs = [normalised(down, config, rng) for down in downs]
        self.norms = [_batch_norm(width, rng) for width in channels[1:]] if batch else []
        self.slope = config.slope
        self.features = math.prod(sides) * channels[-1]

    def forward(self, x: Value) -> Any:
        for i, down in enumerate(self.downs):
            x = down(x)  # sides halve
            if self.norms and i > 0:
                x = self.norms[i - 1](x)
            x = ops.leaky_relu(x, self.slope)
        return ops.reshape(x, (x.shape[0], self.features))


def _norm(config: GANConfig, width: int, rng: Random) -> nn.Module:
    if config.conditioning == "batch_norm":
        assert config.classes is not None
        return ClassBatchNorm(width, config.classes, rng=rng)
    return _batch_norm(width, rng)


def _batch_norm(width: int, rng: Random) -> nn.Module:
    norm = nn.BatchNorm2d(width)
    assert norm.weight is not None
    norm.weight.data[...] = init.normal((width,), 1.0, STD, rng=rng)
    return norm


def start_small(layers: list[Any], rng: Random) -> None:
    """Weights from N(0, 0.02^2) and biases 0 (Radford et al. 2016, section 4)."""
    for layer in layers:
        layer.weight.data[...] = init.normal(layer.weight.shape, 0.0, STD, rng=rng)
        if layer.bias is not None:
            layer.bias.data[...] = 0
