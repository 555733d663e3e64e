"""Quantisers: from a vector to the nearest of finitely many codes.

    z (..., width) ──▶ nearest code e_k (..., width),  k (...)

The nearest code has no derivative: going back, the gradient of e is handed to z as it is (the
straight-through estimator). `VectorQuantizer` learns its codes (van den Oord et al. 2017, "Neural
discrete representation learning"); those of `fsq.py` are a grid.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinygen import nn, ops
from tinygen.arguments import number
from tinygen.backend import Array, backend_of
from tinygen.errors import DivergedError, DtypeError, OutOfRangeError, ShapeError
from tinygen.function import Value
from tinygen.nn.sizes import require_sizes
from tinygen.random import Generator
from tinygen.tensor import Tensor, as_numpy, device_of, plain


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
    return z + (codes - plain(z))


class VectorQuantizer(nn.Module):
    """`codes` vectors of `width`, and the nearest of them for each z.

    With a `decay` g the codebook is a running mean (appendix A.1, eqs. 6-8), moved in training
    unless frozen: count_k = g count_k + (1 - g) n_k, sum_k = g sum_k + (1 - g) (sum of the z of k),
    e_k = sum_k / count_k. A code whose count falls below `reset_below` is dead; where `rng` is
    given it starts afresh at a random z of the batch. With decay=None the codebook is learned by
    the gradient of |e - z|^2 (eq. 3). `commitment` |z - e|^2 in the loss holds z near its code.
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
        require_sizes("VectorQuantizer", codes=codes, width=width)
        self.codes, self.width = codes, width
        if decay is not None:
            decay = number("VectorQuantizer: decay", decay, least=0, below=1)
        self.decay = decay
        self.commitment = number("VectorQuantizer: commitment", commitment, least=0)
        self.reset_below = number("VectorQuantizer: reset_below", reset_below, least=0)
        start = rng.normal((codes, width))
        if decay is None:
            self.codebook: Tensor = nn.Parameter(start)
        else:
            self.codebook = nn.Buffer(start)
            self.counts = nn.Buffer(nn.init.ones((codes,)))
            self.sums = nn.Buffer(start.copy())

    def forward(self, z: Value, *, rng: Generator | None = None) -> Quantised:
        """z (..., width) -> its codes, indices and commitment loss; `rng` to reset dead codes."""
        require_vectors("VectorQuantizer", z, self.width)
        flat = plain(z).reshape(-1, self.width)  # (M, width)
        indices = self._nearest(flat)
        shaped = indices.reshape(z.shape[:-1])
        constant = self.codebook.data[shaped]
        codes = straight_through(z, constant)
        loss = self.commitment * ops.sum(ops.square(z - constant))
        if self.decay is None:
            loss = loss + ops.sum(ops.square(ops.embedding(shaped, self.codebook) - plain(z)))
        elif self.training and not self.frozen:
            self._follow(flat, indices, self.decay)
            if rng is not None:
                self._reset(flat, rng)
        return Quantised(codes, shaped, loss)

    def lookup(self, indices: Value) -> Array:
        """The codes (..., width) of indices (...)."""
        return self.codebook.data[valid_indices(indices, self.codes)]

    def _nearest(self, flat: Array) -> Array:
        """argmin |z - e|^2 = argmin |e|^2 / 2 - z e, (M,)."""
        e = self.codebook.data
        lengths = (e[:, None] @ e[..., None])[:, 0, 0]  # |e|^2
        return (0.5 * lengths - flat @ e.T).argmin(axis=1)

    def _follow(self, flat: Array, indices: Array, decay: float) -> None:
        chosen = ops.one_hot(indices, self.codes, dtype=flat.dtype)  # (M, codes)
        self.counts.data[...] += (1 - decay) * (chosen.sum(axis=0) - self.counts.data)
        self.sums.data[...] += (1 - decay) * (chosen.T @ flat - self.sums.data)
        counts = self.counts.data.clip(float(np.finfo(flat.dtype).tiny))
        self.codebook.data[...] = self.sums.data / counts[:, None]
        self._moved()

    def _reset(self, flat: Array, rng: Generator) -> None:
        dead = backend_of([flat]).xp.flatnonzero(self.counts.data < self.reset_below)
        if dead.size and len(flat):
            chosen = rng.integers(0, len(flat), (dead.size,), device=device_of(flat))
            fresh = flat[chosen]
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
    require_sizes("usage", codes=codes)
    indices = as_numpy(valid_indices(indices, codes))
    p = np.bincount(indices.reshape(-1), minlength=codes) / max(1, indices.size)
    used = p[p > 0]
    return float(np.exp(-(used * np.log(used)).sum())), used.size / codes


# ---- what quantisers require ---------------------------------------------------------------------


def require_vectors(quantizer: str, z: Value, width: int) -> None:
    """Raise ShapeError unless z is (..., width), DivergedError where it is not finite: no code is
    the nearest to NaN, and the first one would be taken without a word."""
    if getattr(z, "shape", ())[-1:] != (width,):
        raise ShapeError(
            f"{quantizer}: z has shape {getattr(z, 'shape', None)}; its last axis is a code's "
            f"{width} components."
        )
    if not backend_of([plain(z)]).xp.isfinite(plain(z)).all():
        raise DivergedError(
            f"{quantizer}: z has NaN or infinity in it, to which no code is the nearest. Look for "
            "such values in the data; if there are none, training diverged: lower its learning "
            "rate."
        )


def valid_indices(indices: Value, codes: int) -> Array:
    """The array of `indices`; DtypeError if they are no integers, OutOfRangeError beyond 0 ...
    codes - 1."""
    found: Array = plain(indices)
    dtype = getattr(found, "dtype", None)
    if getattr(dtype, "kind", None) not in ("i", "u"):
        raise DtypeError(
            f"the indices of codes are an array of integers, not {dtype or type(found).__name__}."
        )
    if found.size and not (found.min() >= 0 and found.max() < codes):
        raise OutOfRangeError(
            f"indices from {found.min()} to {found.max()}, and there are {codes} codes, 0 ... "
            f"{codes - 1}."
        )
    return found
