"""How fast each pair of features turns with its position, and the ways to stretch that beyond the
length that a model was trained on.

    angle of pair i at position p = p f_i,    f_i = base^(-2 i / D)      (Su et al. 2021, eq. 15)

A scaling changes the frequencies f (D/2,), some of them with the length of the text, and YaRN also
the size of the rotated vectors. Everything is float64; the tables are cast when they are made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tinygen.arguments import integer, number
from tinygen.backend import Array, backend_of
from tinygen.errors import UsageError

Frequencies = np.ndarray[Any, np.dtype[np.float64]]


class RopeScaling(Protocol):
    """One way to change the frequencies of a model."""

    @property
    def factor(self) -> float:
        """How many times longer texts may become."""

    def frequencies(self, head_dim: int, base: float, length: int) -> Frequencies:
        """(D/2,), for a text of `length` positions."""

    @property
    def magnitude(self) -> float:
        """What cosines and sines are multiplied by."""


@dataclass(frozen=True)
class LinearScaling:
    """f / factor: positions are interpolated (Chen et al. 2023, arXiv:2306.15595, eq. 4)."""

    factor: float
    magnitude = 1.0

    def __post_init__(self) -> None:
        number("factor", self.factor, above=0)

    def frequencies(self, head_dim: int, base: float, length: int) -> Frequencies:
        return plain_frequencies(head_dim, base) / self.factor


@dataclass(frozen=True)
class DynamicScaling:
    """ "Dynamic NTK": a base that grows with a text beyond `trained` positions, up to which nothing
    changes (Peng et al. 2023, arXiv:2309.00071, appendix B.2, as in the transformers package).

        base (factor length / trained - (factor - 1))^(D / (D - 2))
    """

    factor: float
    trained: int
    magnitude = 1.0

    def __post_init__(self) -> None:
        number("factor", self.factor, least=1)
        integer("trained", self.trained, least=1)

    def frequencies(self, head_dim: int, base: float, length: int) -> Frequencies:
        stretch = self.factor * max(length, self.trained) / self.trained - (self.factor - 1)
        exponent = head_dim / (head_dim - 2) if head_dim > 2 else 1.0  # one pair has f = 1 anyway
        return plain_frequencies(head_dim, base * stretch**exponent)


@dataclass(frozen=True)
class Llama3Scaling:
    """Llama 3.1: slow pairs are interpolated, fast ones kept, and those between mixed (Grattafiori
    et al. 2024, arXiv:2407.21783; github.com/meta-llama/llama-models, `apply_scaling`).

    With r = trained f / 2 pi, the turns of a pair within the trained length: f where r exceeds
    `high`, f / factor where it is below `low`, and between them the mean with weight
    (r - low) / (high - low).
    """

    factor: float
    trained: int
    low: float = 1.0
    high: float = 4.0
    magnitude = 1.0

    def __post_init__(self) -> None:
        number("factor", self.factor, above=0)
        integer("trained", self.trained, least=1)
        number("low", self.low, above=0)
        number("high", self.high, above=self.low)

    def frequencies(self, head_dim: int, base: float, length: int) -> Frequencies:
        f = plain_frequencies(head_dim, base)
        turns = self.trained * f / (2 * math.pi)
        kept = np.clip((turns - self.low) / (self.high - self.low), 0.0, 1.0)
        return kept * f + (1 - kept) * f / self.factor


@dataclass(frozen=True)
class YarnScaling:
    """YaRN (Peng et al. 2023, arXiv:2309.00071, section 3.2-3.4): as `Llama3Scaling`, with a ramp
    over the pairs' numbers, from the pair that turns `fast` times within `trained` positions to the
    one that turns `slow` times, and vectors that are longer by `magnitude`.

    The magnitude is 1 + 0.1 log factor (eq. 22) or `attention_factor`; with `mscale` and
    `mscale_all_dim` the quotient of two such (DeepSeek-V2). `truncate` rounds the ramp's ends
    outwards to whole pairs.
    """

    factor: float
    trained: int
    fast: float = 32.0
    slow: float = 1.0
    attention_factor: float | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True

    def __post_init__(self) -> None:
        number("factor", self.factor, above=0)
        integer("trained", self.trained, least=1)
        number("slow", self.slow, above=0)
        number("fast", self.fast, least=self.slow)
        for name in ("attention_factor", "mscale", "mscale_all_dim"):
            if getattr(self, name) is not None:
                number(name, getattr(self, name), least=0)

    @property
    def magnitude(self) -> float:
        if self.attention_factor is not None:
            return self.attention_factor
        if self.mscale and self.mscale_all_dim:
            return self._growth(self.mscale) / self._growth(self.mscale_all_dim)
        return self._growth(1.0)

    def _growth(self, scale: float) -> float:
        return 1.0 if self.factor <= 1 else 0.1 * scale * math.log(self.factor) + 1.0

    def frequencies(self, head_dim: int, base: float, length: int) -> Frequencies:
        f = plain_frequencies(head_dim, base)
        first, last = (self._pair(turns, head_dim, base) for turns in (self.fast, self.slow))
        if self.truncate:
            first, last = math.floor(first), math.ceil(last)
        first, last = max(first, 0), min(last, head_dim - 1)
        last += 0.001 if first == last else 0  # a step, not a division by 0
        slow = np.clip((np.arange(head_dim // 2) - first) / (last - first), 0.0, 1.0)
        return (1 - slow) * f + slow * f / self.factor

    def _pair(self, turns: float, head_dim: int, base: float) -> float:
        """The number of the pair that turns so often within `trained` positions (eq. 16)."""
        return head_dim * math.log(self.trained / (turns * 2 * math.pi)) / (2 * math.log(base))


def plain_frequencies(head_dim: int, base: float) -> Frequencies:
    """base^(-2 i / D) of each pair i."""
    return np.power(float(base), -np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)


class RotaryEmbedding:
    """Tables of cosines and sines for heads of `head_dim` features; nothing is learned."""

    def __init__(
        self, head_dim: int, base: float = 10000.0, scaling: RopeScaling | None = None
    ) -> None:
        if head_dim % 2:
            raise UsageError(
                f"a head of {head_dim} features has no pairs to turn; make head_dim even."
            )
        self.head_dim = head_dim
        self.base = number("rope_base", base, above=0)
        self.scaling = scaling

    def tables(self, positions: Array, length: int, dtype: Any) -> tuple[Array, Array]:
        """(cos, sin) of `positions` (T,) or (B, T) in a text of `length`, for heads (B, H, T, D):
        (T, D/2) or (B, 1, T, D/2) each."""
        backend = backend_of([positions])
        magnitude = 1.0
        if self.scaling is None:
            frequencies = plain_frequencies(self.head_dim, self.base)
        else:
            frequencies = self.scaling.frequencies(self.head_dim, self.base, length)
            magnitude = self.scaling.magnitude
        angles = positions[..., None] * backend.asarray(frequencies)  # (..., T, D/2)
        if angles.ndim == 3:
            angles = angles[:, None]
        cos, sin = (f(angles) for f in (backend.xp.cos, backend.xp.sin))
        if magnitude != 1:
            cos, sin = cos * magnitude, sin * magnitude
        return cos.astype(dtype), sin.astype(dtype)
