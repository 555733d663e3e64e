"""Finite scalar quantisation (Mentzer et al. 2023, "Finite scalar quantization: VQ-VAE made
simple").

    z (..., d) ──▶ tanh ──▶ each component to the nearest of its L_i levels, evenly over [-1, 1]

There is no codebook to learn: the codes are the points of a grid, numbered as digits are,
index = sum of digit_i L_1 ... L_{i-1}, and every one is in reach. (The paper moves an even number
of levels by half a step, so that 0 is one of them; here the grid is symmetric.)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen import nn, ops
from tinygen.arguments import integer
from tinygen.backend import Array, backend_of
from tinygen.errors import OutOfRangeError, UsageError
from tinygen.function import Value
from tinygen.models.vae.quantizer import (
    Quantised,
    require_vectors,
    straight_through,
    valid_indices,
)
from tinygen.tensor import plain


class FSQ(nn.Module):
    """z (..., d) -> codes (..., d) and indices (...), with d = len(levels); `(8, 5, 5, 5)` makes
    1,000 codes."""

    def __init__(self, levels: tuple[int, ...]) -> None:
        if not isinstance(levels, tuple | list) or not levels:
            raise UsageError(
                f"levels are {levels!r}; give a tuple with one number of 2 or more for each "
                "component, such as (8, 5, 5, 5)."
            )
        self.levels = tuple(integer(f"levels[{i}]", n, least=2) for i, n in enumerate(levels))
        self.codes = math.prod(levels)
        self.width = len(levels)

    def forward(self, z: Value, *, rng: Any = None) -> Quantised:
        """Rounded going forward, the identity going back (section 3.1); it adds nothing to the
        loss."""
        require_vectors("FSQ", z, self.width)
        bounded = ops.tanh(z)
        digits = self._digits(plain(bounded))
        codes = straight_through(bounded, self._codes(digits, bounded.dtype))
        return Quantised(codes, self._index(digits), None)

    def lookup(self, indices: Value) -> Array:
        """The codes (..., d), float32, of indices (...)."""
        indices = valid_indices(indices, self.codes)
        digits = indices[..., None] // self._basis(indices) % self._levels(indices)
        return self._codes(digits, np.dtype("float32"))

    def index(self, codes: Value) -> Array:
        """The indices (...) of codes (..., d), each component in [-1, 1]."""
        require_vectors("FSQ.index", codes, self.width)
        codes = plain(codes)
        if codes.size and not (codes.min() >= -1 and codes.max() <= 1):
            raise OutOfRangeError(
                f"FSQ.index: codes lie in [-1, 1], and these from {codes.min()} to {codes.max()}; "
                "for any z call the quantiser itself."
            )
        return self._index(self._digits(codes))

    def _levels(self, like: Array) -> Array:
        """L_i (d,), where `like` is."""
        return backend_of([like]).asarray(np.asarray(self.levels))

    def _basis(self, like: Array) -> Array:
        """L_1 ... L_{i-1} (d,), where `like` is."""
        return backend_of([like]).asarray(np.cumprod((1, *self.levels[:-1])))

    def _digits(self, bounded: Array) -> Array:
        """[-1, 1] -> 0 ... L - 1, integers."""
        return ((bounded + 1) * ((self._levels(bounded) - 1) / 2)).round().astype("int64")

    def _codes(self, digits: Array, dtype: Any) -> Array:
        return (digits * (2 / (self._levels(digits) - 1)) - 1).astype(dtype)

    def _index(self, digits: Array) -> Array:
        return (digits * self._basis(digits)).sum(axis=-1)

    def settings(self) -> str:
        return f"{' x '.join(map(str, self.levels))} = {self.codes} codes"
