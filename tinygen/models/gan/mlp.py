"""The bodies of a GAN of multilayer perceptrons, and the norm that a discriminator asks for."""

from __future__ import annotations

import math
from typing import Any

from tinygen import nn, ops
from tinygen.function import Value
from tinygen.models.gan.config import GANConfig
from tinygen.random import Generator as Random


class MLPGenerator(nn.Module):
    """z (N, latent) -> ReLU layers -> (N, *data_shape); images pass through tanh."""

    def __init__(self, config: GANConfig, inputs: int, *, rng: Random) -> None:
        widths = (inputs, *config.hidden)
        self.layers = [
            nn.Linear(a, b, activation="relu", rng=rng)
            for a, b in zip(widths, config.hidden, strict=False)
        ]
        self.out = nn.Linear(widths[-1], math.prod(config.data_shape), rng=rng)
        self.config = config

    def forward(self, z: Value, y: Value = None) -> Any:
        for layer in self.layers:
            z = layer(z)  # (N, width)
        x = ops.reshape(self.out(z), (z.shape[0], *self.config.data_shape))
        return ops.tanh(x) if self.config.is_image else x


class MLPFeatures(nn.Module):
    """x (N, *data_shape) -> leaky ReLU layers -> (N, features)."""

    def __init__(self, config: GANConfig, *, rng: Random) -> None:
        widths = (math.prod(config.data_shape), *config.hidden)
        self.layers = [
            normalised(nn.Linear(a, b, rng=rng), config, rng)
            for a, b in zip(widths, config.hidden, strict=False)
        ]
        self.inputs, self.features = widths[0], widths[-1]
        self.slope = config.slope

    def forward(self, x: Value) -> Any:
        h = ops.reshape(x, (x.shape[0], self.inputs))  # (N, D)
        for layer in self.layers:
            h = ops.leaky_relu(layer(h), self.slope)
        return h


def normalised(layer: nn.Module, config: GANConfig, rng: Random) -> nn.Module:
    """A layer of the discriminator, with a spectral norm of 1 if the configuration asks for it."""
    return nn.SpectralNorm(layer, rng=rng) if config.discriminator_norm == "spectral" else layer
