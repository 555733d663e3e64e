"""The variational auto-encoder (Kingma and Welling 2014, "Auto-encoding variational Bayes"; Rezende
et al. 2014, "Stochastic backpropagation and approximate inference in deep generative models").

    x (N, D) ──▶ encoder ──▶ mu, logvar (N, latent)          q(z | x) = N(mu, diag e^logvar)
                                   │
              noise ~ N(0, I) ──▶ z = mu + e^(logvar/2) noise  (N, latent)
                                   │
                                decoder ──▶ parameters of p(x | z) (N, D P)

    log p(x)  >=  ELBO  =  E_q log p(x | z)  -  KL(q(z | x) || N(0, I))

N examples, D the product of `data_shape`, P numbers a dimension (`likelihoods.py`). Everything is
in nats an example.
"""

from __future__ import annotations

import math
from typing import Any

from tinygen import nn, ops
from tinygen.arguments import integer, number
from tinygen.backend import Array
from tinygen.errors import ShapeError, UsageError
from tinygen.function import Value
from tinygen.models.checks import require_examples
from tinygen.models.vae.likelihoods import Likelihood
from tinygen.models.vae.networks import LIKELIHOODS, Decoder, Encoder, VAEConfig
from tinygen.nn.sizes import require_sizes
from tinygen.random import Generator
from tinygen.recompute import checkpoint
from tinygen.tensor import plain


class VAE(nn.Module):
    """Encoder, decoder and likelihood.

    x is (N, *data_shape), as its likelihood wants it; y the labels (N,) of a conditional model.
    Randomness is `rng`, or the `noise` itself.
    """

    def __init__(self, config: VAEConfig, *, rng: Generator) -> None:
        self.config = config
        self.likelihood: Likelihood = LIKELIHOODS[config.likelihood](config)
        self.encoder = Encoder(config, rng=rng)
        self.decoder = Decoder(config, self.likelihood.per_dimension, rng=rng)

    @property
    def dtype(self) -> Any:
        return self.decoder.out.weight.dtype

    @property
    def device(self) -> str:
        return self.decoder.out.weight.device

    def encode(self, x: Value, y: Value = None) -> tuple[Any, Any]:
        """mu and logvar (N, latent) of q(z | x)."""
        mu, logvar = ops.split(self._posterior(x, self._label(y, len(x)))[1], 2, axis=-1)
        return mu, logvar

    def decode(self, z: Value, y: Value = None) -> Any:
        """z (..., N, latent) -> the parameters of p(x | z) (..., N, D P)."""
        return self.decoder(z, self._label(y, z.shape[-2]))

    def forward(
        self, x: Value, y: Value = None, *, rng: Generator | None = None, noise: Value = None
    ) -> tuple[Any, Any]:
        """The two terms of -ELBO: recon (N,), which is -log p(x | z) for one z ~ q(z | x), and kl
        (N, latent), the divergence of q(z | x) from the prior in each latent dimension."""
        label = self._label(y, len(x))
        data, stats = self._posterior(x, label)
        noise = self._noise((len(x), self.config.latent), rng, noise)
        z, kl = ops.gaussian_latent(stats, noise)  # z = mu + e^(logvar/2) noise
        return self.likelihood.nll(data, self.decoder(z, label)), kl

    def loss(
        self,
        x: Value,
        y: Value = None,
        *,
        rng: Generator | None = None,
        noise: Value = None,
        beta: float = 1.0,
        free_bits: float = 0.0,
    ) -> Any:
        """recon + beta kl, the mean over the examples: -ELBO for beta = 1, a tighter bottleneck
        above (Higgins et al. 2017), a warm-up below (`kl_warmup`).

        A latent dimension whose mean kl is below `free_bits` nats pays `free_bits` all the same, so
        that it gains nothing from falling silent (Kingma et al. 2016, eq. 15).
        """
        require_examples(x)
        number("loss: beta", beta, least=0)
        number("loss: free_bits", free_bits, least=0)
        recon, kl = self(x, y, rng=rng, noise=noise)
        if free_bits:
            kl = len(x) * ops.maximum(ops.mean(kl, axis=0), free_bits)  # (latent,)
        return (ops.sum(recon) + beta * ops.sum(kl)) / len(x)

    # ---- bounds of log p(x)

    def elbo(
        self, x: Value, y: Value = None, *, rng: Generator | None = None, noise: Value = None
    ) -> Any:
        """The ELBO of each example (N,), from one z; noise (N, latent)."""
        recon, kl = self(x, y, rng=rng, noise=noise)
        return -recon - ops.sum(kl, axis=-1)

    def iwae(
        self,
        x: Value,
        samples: int,
        y: Value = None,
        *,
        rng: Generator | None = None,
        noise: Value = None,
        chunk: int | None = None,
    ) -> Any:
        """log of the mean of p(x, z) / q(z | x) over `samples` z ~ q(z | x), for each example (N,):
        a bound that rises to log p(x) with the samples (Burda et al. 2016, eq. 8). noise (samples,
        N, latent).

        At most `chunk` samples are in memory at a time; in training the activations of each chunk
        are then computed again in the backward pass.
        """
        chunk = samples if chunk is None else chunk
        require_sizes("iwae", samples=samples, chunk=chunk)
        label = self._label(y, len(x))
        data, stats = self._posterior(x, label)
        mu, logvar = ops.split(stats, 2, axis=-1)

        def log_weights(mu: Value, logvar: Value, noise: Value) -> Any:
            z = mu + ops.exp(0.5 * logvar) * noise  # (chunk, N, latent)
            ratio = 0.5 * ops.sum(noise * noise - z * z + logvar, axis=-1)  # log p(z) / q(z | x)
            return self.likelihood.log_prob(data, self.decoder(z, label)) + ratio

        if noise is not None:
            self._noise((samples, *mu.shape), None, noise)
        pieces = []
        for start in range(0, samples, chunk):
            shape = (min(chunk, samples - start), *mu.shape)
            given = None if noise is None else noise[start : start + chunk]
            drawn = self._noise(shape, rng, given)
            if chunk < samples:
                pieces.append(checkpoint(log_weights, mu, logvar, drawn))
            else:
                pieces.append(log_weights(mu, logvar, drawn))
        return ops.logsumexp(ops.concat(pieces, axis=0), axis=0) - math.log(samples)

    # ---- what one does with it

    def sample(
        self,
        n: int,
        y: Value = None,
        *,
        rng: Generator | None = None,
        noise: Value = None,
        mean: bool = False,
    ) -> Array:
        """n draws of x (n, *data_shape): z ~ N(0, I), or the `noise` (n, latent), then x from
        p(x | z) by `rng`, or its mean."""
        with self.inference():
            z = self._noise((n, self.config.latent), rng, noise)
            if mean:
                return self.mean(z, y)
            return self._shaped(self.likelihood.sample(self.decode(z, y), rng=rng))

    def mean(self, z: Value, y: Value = None) -> Array:
        """E(x | z) (..., *data_shape) of latents z (..., latent)."""
        with self.inference():
            return self._shaped(self.likelihood.mean(self.decode(z, y)))

    def reconstruct(
        self, x: Value, y: Value = None, *, rng: Generator | None = None, noise: Value = None
    ) -> Array:
        """E(x | z) (N, *data_shape) with z the mean of q(z | x), or a draw from it if `rng` or
        `noise` is given."""
        with self.inference():
            z, logvar = self.encode(x, y)
            if rng is not None or noise is not None:
                z = z + ops.exp(0.5 * logvar) * self._noise(z.shape, rng, noise)
            return self.mean(z, y)

    # ---- parts of the above

    def _posterior(self, x: Value, label: Value) -> tuple[Any, Any]:
        """The data (N, D) as the likelihood takes them; mu and logvar, as one (N, 2 latent)."""
        if x.shape[1:] != self.config.data_shape:
            raise ShapeError(
                f"x has shape {x.shape}, and the model takes (N, *{self.config.data_shape})."
            )
        flat = x if x.ndim == 2 else ops.reshape(x, (len(x), self.config.dimensions))
        data, inputs = self.likelihood.prepare(flat, self.dtype)
        return data, self.encoder(inputs, label)

    def _noise(self, shape: tuple[int, ...], rng: Generator | None, noise: Value) -> Any:
        if noise is None:
            if rng is None:
                raise UsageError("give the random generator (rng=...), or the noise itself.")
            return rng.normal(shape, self.dtype, self.device)
        if noise.shape != shape:
            raise ShapeError(f"noise has shape {noise.shape}, and {shape} is drawn here.")
        return noise

    def _label(self, y: Value, n: int) -> Any:
        """Labels (n,) -> (n, classes), ones and zeros."""
        classes = self.config.classes
        if (y is None) != (classes is None):
            raise UsageError(
                "a conditional VAE needs the labels y of its examples, and another takes none; "
                f"this one has classes={classes}."
            )
        if classes is None:
            return None
        if getattr(y, "shape", None) != (n,):
            raise ShapeError(
                f"the labels y have shape {getattr(y, 'shape', None)}; give an array with one for "
                f"each example: ({n},)."
            )
        return ops.one_hot(y, classes, dtype=self.dtype)

    def _shaped(self, x: Value) -> Array:
        """(..., D) -> (..., *data_shape), as an array."""
        return plain(x).reshape(*x.shape[:-1], *self.config.data_shape)


def kl_warmup(step: int, steps: int, beta: float = 1.0) -> float:
    """The weight of the kl at a step: a straight line from 0 to `beta` over the first `steps`, then
    `beta` (Bowman et al. 2016; Sonderby et al. 2016). Early on the latent is then free to be used,
    before the prior pulls it silent."""
    integer("kl_warmup: step", step, least=0)
    integer("kl_warmup: steps", steps, least=0)
    number("kl_warmup: beta", beta, least=0)
    return beta * min(1.0, step / steps) if steps else beta
