"""Generative adversarial networks (Goodfellow et al. 2014; conditional: Mirza and Osindero 2014,
with the projection discriminator of Miyato and Koyama 2018).

           z ~ N(0, I) ──▶ ┌───────────┐            ┌───────────────┐
                           │ Generator │ ──▶ x ──▶  │ Discriminator │ ──▶ score: how real?
    class y (if any) ────▶ └───────────┘     y ──▶  └───────────────┘

    z (N, latent), y (N,) integers, x (N, *data_shape): (N, D) points or (N, H, W, C) images in
    [-1, 1]; scores (N,) are logits.

Both are a *body* between what is common to all architectures: the class, and the shape of the data.
This file has the multilayer perceptrons, `dcgan.py` the convolutional bodies. What the players
minimise stands in `losses.py` and `penalties.py`, how they take turns in `duel.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from tinygen import nn, ops
from tinygen.arguments import number
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.function import Value
from tinygen.nn.sizes import require_sizes, size_tuple
from tinygen.random import Generator as Random

Architecture = Literal["mlp", "dcgan"]
Conditioning = Literal["embedding", "batch_norm"]
GeneratorNorm = Literal["batch", "none"]
Norm = Literal["batch", "spectral", "none"]

CHOICES = {
    "architecture": get_args(Architecture),
    "conditioning": get_args(Conditioning),
    "generator_norm": get_args(GeneratorNorm),
    "discriminator_norm": get_args(Norm),
}


@dataclass(frozen=True)
class GANConfig:
    """Sizes of the two networks."""

    data_shape: tuple[int, ...]
    """(D,) for points, or (H, W, C) for images."""
    latent: int = 64
    architecture: Architecture = "mlp"
    hidden: tuple[int, ...] = (128, 128, 128)
    """Widths of the hidden layers of the multilayer perceptrons."""
    base: int = 64
    """DCGAN: channels next to the image; each halving of its sides doubles them."""
    classes: int | None = None
    """How many classes y has; None for unconditional networks."""
    conditioning: Conditioning = "embedding"
    """How G sees y: a vector beside z, or DCGAN's batch normalisation with weights of its own for
    each class (Dumoulin et al. 2017). D always has the projection."""
    generator_norm: GeneratorNorm = "batch"
    """DCGAN's generator normalises its channels, or not; a perceptron never does."""
    discriminator_norm: Norm = "none"
    """"batch" (DCGAN's), "spectral" (Miyato et al. 2018) or "none"."""
    slope: float = 0.2
    """Of the discriminator's leaky ReLU below 0."""

    def __post_init__(self) -> None:
        classes = 1 if self.classes is None else self.classes
        require_sizes("GANConfig", latent=self.latent, base=self.base, classes=classes)
        for name in ("data_shape", "hidden"):
            sizes = size_tuple("GANConfig", name, getattr(self, name))
            object.__setattr__(self, name, sizes)
        number("GANConfig: slope", self.slope)
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise UsageError(
                    f"GANConfig: {name} is {getattr(self, name)!r}; use one of {', '.join(known)}."
                )
        if len(self.data_shape) not in (1, 3):
            raise UsageError(
                f"GANConfig: data_shape is {self.data_shape}; it is (D,) for points or (H, W, C) "
                "for images."
            )
        if self.architecture == "dcgan" and len(self.data_shape) != 3:
            raise UsageError(
                f"GANConfig: a DCGAN makes images (H, W, C), not data of shape {self.data_shape}; "
                'use architecture="mlp".'
            )
        if self.conditioning == "batch_norm" and (
            self.architecture != "dcgan" or self.generator_norm != "batch" or self.classes is None
        ):
            raise UsageError(
                'GANConfig: conditioning="batch_norm" needs architecture="dcgan", '
                'generator_norm="batch" and classes.'
            )
        if self.architecture == "mlp" and self.discriminator_norm == "batch":
            raise UsageError(
                'GANConfig: only a DCGAN has batch normalisation; use discriminator_norm="none" '
                'or "spectral" for a perceptron.'
            )

    @property
    def is_image(self) -> bool:
        return len(self.data_shape) == 3


# ---- blocks --------------------------------------------------------------------------------------


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


def normalised(layer: nn.Module, config: GANConfig, rng: Random) -> nn.Module:
    """A layer of the discriminator, with a spectral norm of 1 if the configuration asks for it."""
    return nn.SpectralNorm(layer, rng=rng) if config.discriminator_norm == "spectral" else layer


# ---- models --------------------------------------------------------------------------------------


class Generator(nn.Module):
    """x = G(z, y): z (N, latent), y (N,) if the data have classes -> x (N, *data_shape)."""

    def __init__(self, config: GANConfig, *, rng: Random) -> None:
        from tinygen.models.gan.dcgan import DCGANGenerator  # that file begins with this one

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


class Discriminator(nn.Module):
    """scores (N,) = D(x, y): x (N, *data_shape), y (N,) if the data have classes."""

    def __init__(self, config: GANConfig, *, rng: Random) -> None:
        from tinygen.models.gan.dcgan import DCGANFeatures

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
