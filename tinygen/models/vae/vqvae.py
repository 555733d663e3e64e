"""VQ-VAE: an auto-encoder with a discrete latent (van den Oord et al. 2017, "Neural discrete
representation learning").

    x (N, H, W, C) ──▶ encoder ──▶ z (N, h, w, width) ──▶ nearest code e_k ──▶ decoder ──▶ p(x | e)
                                                           k (N, h, w)

The nearest code has no derivative: going back, the gradient of e is handed to z as it is (the
straight-through estimator), and a commitment loss holds z near its code. The codes follow the
means of what was assigned to them. h, w are H, W halved by each of the encoder's `channels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tinygen import nn, ops
from tinygen.backend import Array
from tinygen.errors import OutOfRangeError, ShapeError, UsageError
from tinygen.function import Value
from tinygen.models.vae.likelihoods import Likelihood
from tinygen.random import Generator
from tinygen.tensor import Tensor

# ---- quantisation --------------------------------------------------------------------------------


class Quantised(NamedTuple):
    """What a quantiser makes of z (..., width)."""

    codes: Any
    """(..., width), by the straight-through estimator."""
    indices: Array
    """(...), integers."""
    loss: Any
    """What is added to the loss, summed over all z; None if nothing is."""


def straight_through(z: Value, codes: Array) -> Any:
    """The value of `codes`, to rounding, with the gradient of z: z + (codes - z) with the bracket
    constant (Bengio et al. 2013; van den Oord et al. 2017, section 3.2)."""
    return z + (codes - raw(z))


class VectorQuantizer(nn.Module):
    """`codes` vectors of `width`, and the nearest of them for each z.

    With a `decay` g the codebook is a running mean (appendix A.1, eqs. 6-8), moved in training
    unless frozen: count_k = g count_k + (1 - g) n_k, sum_k = g sum_k + (1 - g) (sum of the z of k),
    e_k = sum_k / count_k. A code whose count falls below `reset_below` is dead; where `rng` is
    given it starts afresh at a random z of the batch. With decay=None the codebook is learned by
    the gradient of |e - z|^2 (eq. 3).
    """

    def __init__(
        self,
        codes: int,
        width: int,
        *,
        decay: float | None = 0.99,
        commitment: float = 0.25,
        reset_below: float = 0.1,
        rng: Generator,
    ) -> None:
        if codes < 1 or width < 1 or not (decay is None or 0 <= decay < 1):
            raise UsageError(
                f"VectorQuantizer: codes {codes} and width {width} are at least 1, and decay "
                f"{decay} lies in [0, 1) or is None."
            )
        self.codes, self.width = codes, width
        self.decay, self.commitment, self.reset_below = decay, commitment, reset_below
        start = rng.normal((codes, width))
        if decay is None:
            self.codebook: Tensor = nn.Parameter(start)
        else:
            self.codebook = nn.Buffer(start)
            self.counts = nn.Buffer(nn.init.ones((codes,)))
            self.sums = nn.Buffer(start.copy())

    def forward(self, z: Value, *, rng: Generator | None = None) -> Quantised:
        """z (..., width) -> its codes, indices and commitment loss; `rng` to reset dead codes."""
        if z.shape[-1:] != (self.width,):
            raise ShapeError(
                f"VectorQuantizer: z has shape {z.shape}, and codes {self.width} numbers."
            )
        flat = raw(z).reshape(-1, self.width)  # (M, width)
        indices = self._nearest(flat)
        shaped = indices.reshape(z.shape[:-1])
        constant = self.codebook.data[shaped]
        codes = straight_through(z, constant)
        loss = self.commitment * ops.sum(ops.square(z - constant))
        if self.decay is None:
            loss = loss + ops.sum(ops.square(ops.embedding(shaped, self.codebook) - raw(z)))
        elif self.training and not self.frozen:
            self._follow(flat, indices, self.decay)
            if rng is not None:
                self._reset(flat, rng)
        return Quantised(codes, shaped, loss)

    def lookup(self, indices: Value) -> Array:
        """The codes (..., width) of indices (...)."""
        indices = raw(indices)
        if indices.size and not (indices.min() >= 0 and indices.max() < self.codes):
            raise OutOfRangeError(f"there are {self.codes} codes, 0 ... {self.codes - 1}.")
        return self.codebook.data[indices]

    def _nearest(self, flat: Array) -> Array:
        """argmin |z - e|^2 = argmin |e|^2 / 2 - z e, (M,)."""
        e = self.codebook.data
        return np.argmin(0.5 * np.vecdot(e, e) - flat @ e.T, axis=1)

    def _follow(self, flat: Array, indices: Array, decay: float) -> None:
        chosen = ops.one_hot(indices, self.codes, dtype=flat.dtype)  # (M, codes)
        self.counts.data[...] += (1 - decay) * (chosen.sum(axis=0) - self.counts.data)
        self.sums.data[...] += (1 - decay) * (chosen.T @ flat - self.sums.data)
        counts = np.maximum(self.counts.data, np.finfo(flat.dtype).tiny)
        self.codebook.data[...] = self.sums.data / counts[:, None]
        self._moved()

    def _reset(self, flat: Array, rng: Generator) -> None:
        dead = np.flatnonzero(self.counts.data < self.reset_below)
        if dead.size and len(flat):
            fresh = flat[rng.integers(0, len(flat), (dead.size,))]
            self.codebook.data[dead] = self.sums.data[dead] = fresh
            self.counts.data[dead] = 1
            self._moved()

    def _moved(self) -> None:
        for buffer in self.buffers():
            buffer.version += 1

    def settings(self) -> str:
        return f"{self.codes} codes of {self.width}"


def usage(indices: Value, codes: int) -> tuple[float, float]:
    """(perplexity, fraction of the codes in use) of a batch of indices: e to the entropy of their
    frequencies, between 1 and `codes`."""
    p = np.bincount(raw(indices).reshape(-1), minlength=codes) / max(1, raw(indices).size)
    used = p[p > 0]
    return float(np.exp(-(used * np.log(used)).sum())), used.size / codes


def raw(x: Value) -> Any:
    """The array of a Tensor, outside the graph."""
    return x.data if isinstance(x, Tensor) else x


# ---- the model -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class VQVAEConfig:
    """`channels` of the encoder's convolutions, each of which halves the sides, and `residual`
    blocks after them. The likelihood of an image is one of `likelihoods.py`."""

    data_shape: tuple[int, int, int]
    channels: tuple[int, ...] = (32, 64)
    residual: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "data_shape", tuple(self.data_shape))
        factor = 2 ** len(self.channels)
        if not self.channels or len(self.data_shape) != 3 or min(self.data_shape) < 1:
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
        recon, quantised = self(x, rng=rng)
        total = ops.sum(recon)
        return (total if quantised.loss is None else total + quantised.loss) / len(x)

    def encode(self, x: Value) -> Array:
        """The indices (N, h, w) of images; moves no codebook."""
        with self.inference():
            return self.quantizer(self._latent(x)[1]).indices

    def decode(self, indices: Value) -> Array:
        """The mean image (N, H, W, C) of indices (N, h, w)."""
        with self.inference():
            codes = self.quantizer.lookup(indices)
            mean = raw(self.likelihood.mean(self._params(codes)))
            return mean.reshape(len(codes), *self.config.data_shape)

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
