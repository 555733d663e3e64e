"""A prior over the codes of a VQ-VAE: a GPT that reads the grid row by row (van den Oord et al.
2017, section 3.3, with a transformer in the place of their PixelCNN).

    start ──▶ k_1 ──▶ k_2 ──▶ ... ──▶ k_T        p(k) = product of p(k_t | start, k_1 ... k_{t-1})

The start is a token of its own, or one for each class. A VQ-VAE whose codes have this prior is a
model of images: since the encoder is certain of its codes, -log p(x | k) - log p(k) is its -ELBO.
N images, T codes of each, K kinds of codes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen import nn, ops
from tinygen.arguments import integer
from tinygen.backend import Array, backend_of
from tinygen.decoding.sampler import Sampler
from tinygen.errors import OutOfRangeError, ShapeError, UsageError
from tinygen.models.transformer import GPT, GPTConfig
from tinygen.models.vae.quantizer import valid_indices
from tinygen.random import Generator
from tinygen.tensor import as_numpy


class CodePrior(nn.Module):
    """A GPT over T = h w codes of K kinds, read row by row, of images with or without classes."""

    def __init__(
        self,
        codes: int,
        grid: tuple[int, int],
        *,
        n_layer: int,
        n_head: int,
        width: int,
        classes: int | None = None,
        rng: Generator,
    ) -> None:
        self.codes = integer("CodePrior: codes", codes, least=1)
        self.grid, self.classes = grid, classes
        config = GPTConfig(
            vocab_size=codes + (classes or 1),
            block_size=grid[0] * grid[1],
            n_layer=n_layer,
            n_head=n_head,
            width=width,
        )
        self.gpt = GPT(config, rng=rng)

    def losses(self, codes: Array, y: Array | None = None) -> Any:
        """codes (N, h, w), y (N,) -> -log p(code | those before it), nats, (N, T)."""
        if codes.shape[1:] != self.grid:
            raise ShapeError(f"codes have shape {codes.shape}; the prior takes (N, *{self.grid}).")
        flat = valid_indices(codes, self.codes).reshape(len(codes), -1)  # (N, T)
        tokens = ops.concat([self._start(len(codes), y), flat[:, :-1]], axis=1)
        logits = self.gpt(tokens)[..., : self.codes]  # (N, T, K): never a start
        return ops.cross_entropy(logits, flat, reduction="none")

    def loss(self, codes: Array, y: Array | None = None) -> Any:
        """-log p(codes) in nats, the mean over the examples."""
        return ops.sum(self.losses(codes, y)) / len(codes)

    def nats(self, codes: Array, y: Array | None = None) -> Array:
        """-log p(codes) of each example (N,), without a graph."""
        with self.inference():
            return np.asarray(as_numpy(self.losses(codes, y)).sum(axis=1, dtype=np.float64))

    def sample(self, uniform: Array, y: Array | None = None, *, temperature: float = 1.0) -> Array:
        """Codes (N, h, w) from numbers (N, T) in [0, 1): each picks its code from the cumulative
        distribution, so that an example depends on its own numbers alone."""
        n, length = uniform.shape
        if length != self.grid[0] * self.grid[1]:
            raise ShapeError(f"uniform has shape {uniform.shape}; give one for each code.")
        sampler, cache, backend = Sampler(temperature), self.gpt.new_cache(), self._backend
        fresh, chosen = self._start(n, y), []
        for t in range(length):
            with self.inference():
                logits = as_numpy(self.gpt(fresh, cache))[:, -1, : self.codes]
            cumulative = np.cumsum(sampler.probabilities(logits), axis=-1)  # (N, K)
            picked = (cumulative <= uniform[:, t, None] * cumulative[:, -1:]).sum(axis=-1)
            fresh = backend.asarray(picked[:, None])
            chosen.append(picked)
        return np.stack(chosen, axis=1).reshape(n, *self.grid)

    def _start(self, n: int, y: Array | None) -> Array:
        """The first tokens (N, 1)."""
        if (y is None) != (self.classes is None):
            raise UsageError(
                "this prior was made without classes: leave y out."
                if self.classes is None
                else f"this prior knows {self.classes} classes: give y, one for each example."
            )
        if y is None:
            return self._backend.asarray(np.full((n, 1), self.codes))
        if len(y) and not 0 <= y.min() <= y.max() < (self.classes or 0):
            raise OutOfRangeError(f"the classes are 0 ... {(self.classes or 0) - 1}, not {y}.")
        return self.codes + self._backend.asarray(y)[:, None]

    @property
    def _backend(self) -> Any:
        return backend_of([self.gpt.token_embedding.weight.data])
