"""Encoder and decoder of a VAE: perceptrons, on images behind and before convolutions.

    x (N, D) ──▶ convolutions (if any) ──▶ hidden layers ──▶ mu and logvar (N, 2 latent)
    z (..., N, latent) ──▶ hidden layers ──▶ transposed convolutions (if any) ──▶ (..., N, D P)

N examples, D the product of `data_shape`, P numbers a dimension (`likelihoods.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from tinygen import nn, ops
from tinygen.errors import UsageError
from tinygen.function import Value
from tinygen.models.vae.likelihoods import Bernoulli, Categorical, DiscretisedLogistic, Gaussian
from tinygen.nn.sizes import require_sizes, size_tuple
from tinygen.random import Generator


@dataclass(frozen=True)
class VAEConfig:
    """The sizes of a VAE, and what its data are.

    `data_shape` is (D,) or (H, W, C). `channels` are those of the encoder's convolutions, each of
    which halves the sides of an image, and `hidden` the widths of the layers after them; the
    decoder has both in reverse order. Without any, encoder and decoder are linear. `activation` is
    "relu", "gelu", "gelu_tanh", "silu" or "tanh". `levels` is for "categorical" and "logistic"
    data, `sigma` for "gaussian" ones (see `likelihoods.py`). With `classes`, encoder and decoder
    are told the label of each example (Sohn et al. 2015).
    """

    data_shape: tuple[int, ...]
    latent: int
    hidden: tuple[int, ...] = (512,)
    likelihood: str = "bernoulli"
    channels: tuple[int, ...] = ()
    activation: str = "relu"
    levels: int = 256
    sigma: float | Literal["shared", "decoded"] = "shared"
    classes: int | None = None

    def __post_init__(self) -> None:
        classes = 1 if self.classes is None else self.classes
        require_sizes("VAEConfig", latent=self.latent, classes=classes)
        for name in ("data_shape", "hidden", "channels"):
            sizes = size_tuple("VAEConfig", name, getattr(self, name))
            object.__setattr__(self, name, sizes)
        if not self.data_shape:
            raise UsageError("data_shape is (); give (D,) or (H, W, C).")
        if self.likelihood not in LIKELIHOODS:
            raise UsageError(
                f"there is no likelihood {self.likelihood!r}; use one of {', '.join(LIKELIHOODS)}."
            )
        if self.activation not in ACTIVATIONS:
            raise UsageError(
                f"there is no activation {self.activation!r}; use one of {', '.join(ACTIVATIONS)}."
            )
        if self.channels and (len(self.data_shape) != 3 or 0 in self.grids[-1]):
            raise UsageError(
                f"{len(self.channels)} convolutions halve the sides of images (H, W, C), and "
                f"data_shape is {self.data_shape}; give images that are large enough, or fewer."
            )

    @property
    def grids(self) -> list[tuple[int, int]]:
        """(H, W) of an image, and after each convolution."""
        height, width = self.data_shape[:2]
        return [(height >> i, width >> i) for i in range(len(self.channels) + 1)]

    @property
    def dimensions(self) -> int:
        """D, the numbers of an example."""
        return math.prod(self.data_shape)


LIKELIHOODS: dict[str, Any] = {
    "bernoulli": lambda config: Bernoulli(),
    "gaussian": lambda config: Gaussian(config.sigma),
    "categorical": lambda config: Categorical(config.levels),
    "logistic": lambda config: DiscretisedLogistic(config.levels),
}


ACTIVATIONS: dict[str, Any] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU("tanh"),
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


# ---- networks ------------------------------------------------------------------------------------


def mlp(widths: tuple[int, ...], activation: str, rng: Generator) -> nn.Sequential:
    """Linear layers between the widths, each with the activation."""
    layers: list[nn.Module] = []
    for width, following in pairwise(widths):
        if activation == "tanh":
            layers += [nn.Linear(width, following, rng=rng), nn.Tanh()]
        else:  # in one node
            layers.append(nn.Linear(width, following, activation=activation, rng=rng))
    return nn.Sequential(*layers)


class Encoder(nn.Module):
    """x (N, D), label (N, classes) -> mu and logvar side by side (N, 2 latent)."""

    def __init__(self, config: VAEConfig, *, rng: Generator) -> None:
        self.config = config
        stages: list[nn.Module] = []
        features = config.dimensions
        for width, following in pairwise((config.data_shape[-1], *config.channels)):
            convolution = nn.Conv2d(width, following, 4, stride=2, padding=1, rng=rng)
            stages += [convolution, ACTIVATIONS[config.activation]()]
            features = following * math.prod(config.grids[-1])
        self.convolutions = nn.Sequential(*stages)
        widths = (features + (config.classes or 0), *config.hidden)
        self.body = mlp(widths, config.activation, rng)
        self.out = nn.Linear(widths[-1], 2 * config.latent, rng=rng)

    def forward(self, x: Value, label: Value = None) -> Any:
        if self.config.channels:
            images = ops.reshape(x, (len(x), *self.config.data_shape))  # (N, H, W, C)
            x = ops.reshape(self.convolutions(images), (len(x), -1))  # (N, features)
        return self.out(self.body(_with(label, x)))


class Decoder(nn.Module):
    """z (..., N, latent), label (N, classes) -> the parameters of p(x | z) (..., N, D P)."""

    out: Any

    def __init__(self, config: VAEConfig, per_dimension: int, *, rng: Generator) -> None:
        self.config = config
        widths = (config.latent + (config.classes or 0), *reversed(config.hidden))
        self.body = mlp(widths, config.activation, rng)
        if not config.channels:
            self.out = nn.Linear(widths[-1], config.dimensions * per_dimension, rng=rng)
            return
        features = config.channels[-1] * math.prod(config.grids[-1])
        self.grow = mlp((widths[-1], features), config.activation, rng)
        outputs = config.data_shape[-1] * per_dimension
        stages: list[nn.Module] = []
        channels = (outputs, *config.channels)
        for i in reversed(range(len(config.channels))):  # from grid i + 1 to grid i, twice as large
            odd = (config.grids[i][0] % 2, config.grids[i][1] % 2)
            stages.append(
                nn.ConvTranspose2d(
                    channels[i + 1],
                    channels[i],
                    4,
                    stride=2,
                    padding=1,
                    output_padding=odd,
                    rng=rng,
                )
            )
            stages.append(ACTIVATIONS[config.activation]())
        self.convolutions = nn.Sequential(*stages[:-2])
        self.out = stages[-2]

    def forward(self, z: Value, label: Value = None) -> Any:
        h = self.body(_with(label, z))
        if not self.config.channels:
            return self.out(h)
        shape = (-1, *self.config.grids[-1], self.config.channels[-1])
        images = self.out(self.convolutions(ops.reshape(self.grow(h), shape)))  # (N', H, W, C P)
        return ops.reshape(images, (*z.shape[:-1], -1))


def _with(label: Value, x: Value) -> Any:
    """(..., N, C) -> (..., N, C + classes)."""
    if label is None:
        return x
    return ops.concat([x, ops.broadcast_to(label, (*x.shape[:-1], label.shape[-1]))], axis=-1)
