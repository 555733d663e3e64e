"""Generative adversarial networks (Goodfellow et al. 2014; conditional: Mirza and Osindero 2014,
with the projection discriminator of Miyato and Koyama 2018).

           z ~ N(0, I) ──▶ ┌───────────┐            ┌───────────────┐
                           │ Generator │ ──▶ x ──▶  │ Discriminator │ ──▶ score: how real?
    class y (if any) ────▶ └───────────┘     y ──▶  └───────────────┘

    z (N, latent), y (N,) integers, x (N, *data_shape): (N, D) points or (N, H, W, C) images in
    [-1, 1]; scores (N,) are logits.

Both are a *body* between what is common to all architectures: the class, and the shape of the data.
The bodies are in `mlp.py` and `dcgan.py`, what the players minimise in `losses.py` and
`penalties.py`, how they take turns in `duel.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tinygen import nn, ops
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.function import Value
from tinygen.models.gan.config import GANConfig
from tinygen.models.gan.dcgan import DCGANFeatures, DCGANGenerator
from tinygen.models.gan.mlp import MLPFeatures, MLPGenerator, normalised
from tinygen.random import Generator as Random


class Generator(nn.Module):
    """x = G(z, y): z (N, latent), y (N,) if the data have classes -> x (N, *data_shape)."""

    def __init__(self, config: GANConfig, *, rng: Random) -> None:
        self.config = config
        self.embedding = None
        inputs = config.latent
        if config.classes is not None and config.conditioning == "embedding":
            self.embedding = nn.Embedding(config.classes, config.latent, rng=rng)
            inputs += config.latent
        body: Callable[..., nn.Module]
        body = DCGANGenerator if config.architecture == "dcgan" else MLPGenerator
        self.body = body(config, inputs, rng=rng)

    def forward(self, z: Value, y: Value = None) -> Any:
        if z.ndim != 2 or z.shape[1] != self.config.latent:
            raise ShapeError(f"Generator: z has shape {z.shape}; it is (N, {self.config.latent}).")
        require_classes("Generator", self.config, y, z.shape[0])
        if self.embedding is not None:
            z = ops.concat([z, self.embedding(y)], axis=1)  # (N, 2 latent)
        return self.body(z, y)

    def noise(self, n: int, *, rng: Random) -> Any:
        """Latent vectors z ~ N(0, I), (n, latent) float32."""
        return rng.normal((n, self.config.latent))

    def sample(self, n: int, y: Value = None, *, rng: Random) -> Any:
        """n samples as an array, (n, *data_shape): in eval mode, recording nothing."""
        with self.inference():
            return self(self.noise(n, rng=rng), y).data


class Head(nn.Module):
    """score = w·h + b + e_y·h: features h (N, features) and classes y (N,) -> (N,).

    The last term, with an embedding e_y of the class, is the projection (Miyato and Koyama 2018,
    eq. 3): if log p(y | x) and log q(y | x) are both linear in h, the optimal score has this form.
    """

    def __init__(self, config: GANConfig, features: int, *, rng: Random) -> None:
        self.out = normalised(nn.Linear(features, 1, rng=rng), config, rng)
        self.project = None
        if config.classes is not None:
            project = nn.Embedding(config.classes, features, rng=rng)
            project.weight.data[...] *= 1 / math.sqrt(features)
            self.project = normalised(project, config, rng)

    def forward(self, h: Value, y: Value = None) -> Any:
        score = ops.squeeze(self.out(h), axis=-1)  # (N,)
        if self.project is None:
            return score
        return score + ops.sum(self.project(y) * h, axis=-1)


class Discriminator(nn.Module):
    """scores (N,) = D(x, y): x (N, *data_shape), y (N,) if the data have classes."""

    def __init__(self, config: GANConfig, *, rng: Random) -> None:
        self.config = config
        if config.architecture == "dcgan":
            self.body: Any = DCGANFeatures(config, rng=rng)
        else:
            self.body = MLPFeatures(config, rng=rng)
        self.head = Head(config, self.body.features, rng=rng)

    def forward(self, x: Value, y: Value = None) -> Any:
        if x.shape[1:] != self.config.data_shape:
            shape = ", ".join(map(str, self.config.data_shape))
            raise ShapeError(f"Discriminator: x has shape {x.shape}; it is (N, {shape}).")
        require_classes("Discriminator", self.config, y, x.shape[0])
        return self.head(self.body(x), y)


def require_classes(player: str, config: GANConfig, y: Value, n: int) -> None:
    """Raise where y is not what the configuration says: (n,) integers, or None."""
    if config.classes is None:
        if y is not None:
            raise UsageError(
                f"{player}: classes y were given to unconditional networks; set classes=... in "
                "GANConfig, or leave y out."
            )
        return
    if y is None:
        raise UsageError(f"{player}: conditional networks need the classes y, ({n},) integers.")
    if y.dtype.kind not in "iu":
        raise DtypeError(f"{player}: the classes y are {y.dtype}; they are integers.")
    if y.shape != (n,):
        raise ShapeError(f"{player}: the classes y have shape {y.shape}; one an example: ({n},).")
