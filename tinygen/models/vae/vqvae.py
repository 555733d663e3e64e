"""VQ-VAE: an auto-encoder with a discrete latent (van den Oord et al. 2017, "Neural discrete
representation learning").

    x (N, H, W, C) ──▶ encoder ──▶ z (N, h, w, width) ──▶ nearest code e_k ──▶ decoder ──▶ p(x | e)
                                                           k (N, h, w)

The codes and their straight-through gradient are those of a quantiser (`quantizer.py`, `fsq.py`).
h, w are H, W halved by each of the encoder's `channels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tinygen import nn, ops
from tinygen.arguments import integer
from tinygen.backend import Array
from tinygen.errors import ShapeError, UsageError
from tinygen.function import Value
from tinygen.models.checks import require_examples
from tinygen.models.vae.likelihoods import Likelihood
from tinygen.models.vae.quantizer import Quantised
from tinygen.nn.sizes import size_tuple
from tinygen.random import Generator
from tinygen.tensor import plain


@dataclass(frozen=True)
class VQVAEConfig:
    """`channels` of the encoder's convolutions, each of which halves the sides, and `residual`
    blocks after them. The likelihood of an image is one of `likelihoods.py`."""

    data_shape: tuple[int, int, int]
    channels: tuple[int, ...] = (32, 64)
    residual: int = 2

    def __post_init__(self) -> None:
        for name in ("data_shape", "channels"):
            sizes = size_tuple("VQVAEConfig", name, getattr(self, name))
            object.__setattr__(self, name, sizes)
        integer("VQVAEConfig: residual", self.residual, least=0)
        factor = 2 ** len(self.channels)
        if not self.channels or len(self.data_shape) != 3:
            raise UsageError(
                f"a VQ-VAE takes images (H, W, C) and at least one of channels, not {self}."
            )
        if any(side % factor for side in self.data_shape[:2]):
            raise UsageError(
                f"{len(self.channels)} convolutions halve the sides of an image, and those of "
                f"{self.data_shape} are no multiples of {factor}; pad the images, or give fewer."
            )


class Residual(nn.Module):
    """x + W1(relu(W3(relu(x)))), W3 a 3x3 and W1 a 1x1 convolution (section 4.1)."""

    def __init__(self, width: int, *, rng: Generator) -> None:
        self.wide = nn.Conv2d(width, width, 3, padding=1, rng=rng)
        self.narrow = nn.Conv2d(width, width, 1, rng=rng)

    def forward(self, x: Value) -> Any:
        return x + self.narrow(ops.relu(self.wide(ops.relu(x))))


class VQVAE(nn.Module):
    """Encoder, quantiser (a `VectorQuantizer` or an `FSQ`) and decoder of images.

    model = VQVAE(VQVAEConfig((32, 32, 3)), VectorQuantizer(512, 64, rng=rng), Gaussian(), rng=rng)
    """

    def __init__(
        self, config: VQVAEConfig, quantizer: Any, likelihood: Likelihood, *, rng: Generator
    ) -> None:
        self.config = config
        self.quantizer = quantizer
        self.likelihood = likelihood
        channels = config.channels
        encoder: list[nn.Module] = []
        for width, following in pairwise((config.data_shape[-1], *channels)):
            convolution = nn.Conv2d(width, following, 4, stride=2, padding=1, rng=rng)
            encoder += [convolution, nn.ReLU()]
        encoder += [Residual(channels[-1], rng=rng) for _ in range(config.residual)]
        encoder.append(nn.Conv2d(channels[-1], quantizer.width, 1, rng=rng))
        self.encoder = nn.Sequential(*encoder)

        decoder: list[nn.Module] = [nn.Conv2d(quantizer.width, channels[-1], 1, rng=rng)]
        decoder += [Residual(channels[-1], rng=rng) for _ in range(config.residual)]
        outputs = config.data_shape[-1] * likelihood.per_dimension
        for width, following in pairwise((*reversed(channels), outputs)):
            up = nn.ConvTranspose2d(width, following, 4, stride=2, padding=1, rng=rng)
            decoder += [nn.ReLU(), up]
        self.decoder = nn.Sequential(*decoder)

    def forward(self, x: Value, *, rng: Generator | None = None) -> tuple[Any, Quantised]:
        """x (N, H, W, C) -> -log p(x | codes) (N,) in nats, and the quantised latent."""
        data, z = self._latent(x)
        quantised = self.quantizer(z, rng=rng)
        return -self.likelihood.log_prob(data, self._params(quantised.codes)), quantised

    def loss(self, x: Value, *, rng: Generator | None = None) -> Any:
        """-log p(x | codes) + the quantiser's loss (eq. 3), the mean over the examples; `rng` to
        reset dead codes in training."""
        require_examples(x)
        recon, quantised = self(x, rng=rng)
        total = ops.sum(recon)
        return (total if quantised.loss is None else total + quantised.loss) / len(x)

    def encode(self, x: Value) -> Array:
        """The indices (N, h, w) of images; moves no codebook."""
        with self.inference():
            return self.quantizer(self._latent(x)[1]).indices

    def decode(self, indices: Value, *, rng: Generator | None = None) -> Array:
        """The mean image (N, H, W, C) of indices (N, h, w), or a draw from `rng`."""
        grid = tuple(side // 2 ** len(self.config.channels) for side in self.config.data_shape[:2])
        if getattr(indices, "shape", ())[1:] != grid:
            raise ShapeError(
                f"decode: indices of shape {getattr(indices, 'shape', None)}; an image has "
                f"{grid[0]} x {grid[1]} of them: (N, {grid[0]}, {grid[1]})."
            )
        with self.inference():
            codes = self.quantizer.lookup(indices)
            params = self._params(codes)
            if rng is None:
                x = plain(self.likelihood.mean(params))
            else:
                x = self.likelihood.sample(params, rng=rng)
            return x.reshape(len(codes), *self.config.data_shape)

    def reconstruct(self, x: Value) -> Array:
        """`decode(encode(x))`."""
        return self.decode(self.encode(x))

    def _latent(self, x: Value) -> tuple[Any, Any]:
        """The data (N, D) as the likelihood takes them, and z (N, h, w, width)."""
        if x.shape[1:] != self.config.data_shape:
            raise ShapeError(
                f"x has shape {x.shape}, and the model takes (N, *{self.config.data_shape})."
            )
        dtype = self.decoder.parameters()[0].dtype
        data, inputs = self.likelihood.prepare(ops.reshape(x, (len(x), -1)), dtype)
        return data, self.encoder(ops.reshape(inputs, x.shape))

    def _params(self, codes: Value) -> Any:
        return ops.reshape(self.decoder(codes), (len(codes), -1))
