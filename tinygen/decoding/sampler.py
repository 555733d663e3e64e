"""From the logits of the next token to a token: temperature, top-k, top-p, min-p.

Everything is float64 and has a closed form, so a draw can be checked against its distribution.
B batch, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from tinygen.arguments import integer, is_finite
from tinygen.errors import DivergedError, UsageError
from tinygen.random import Generator

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Tokens: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"
Randomness: TypeAlias = "Generator | Sequence[Generator] | None"
"""One stream for the whole batch, or one for each row, which then draws what it would alone."""


@dataclass(frozen=True)
class Sampler:
    """How a token is chosen: `temperature` 0 takes the likeliest, 1 the model's own distribution.

    `top_k` keeps the k likeliest tokens (Fan et al. 2018), then `top_p` the fewest likeliest ones
    whose probabilities reach p (Holtzman et al. 2020), then `min_p` those with at least that part
    of the likeliest one's probability (Nguyen et al. 2024). Among equals the smaller token comes
    first.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None

    def __post_init__(self) -> None:
        if not (is_finite(self.temperature) and self.temperature >= 0):
            raise UsageError(f"temperature is {self.temperature!r}; give a finite number >= 0.")
        if self.top_k is not None:
            integer("top_k (None for all tokens)", self.top_k, least=1)
        if self.top_p is not None and not (is_finite(self.top_p) and 0 < self.top_p <= 1):
            raise UsageError(
                f"top_p is {self.top_p!r}; give 0 < top_p <= 1, or None for all tokens."
            )
        if self.min_p is not None and not (is_finite(self.min_p) and 0 <= self.min_p <= 1):
            raise UsageError(
                f"min_p is {self.min_p!r}; give 0 <= min_p <= 1, or None for all tokens."
            )

    def probabilities(self, logits: Floats) -> Floats:
        """(B, V) -> (B, V): the distribution that `choose` draws from; rows sum to 1."""
        highest = logits.max(axis=-1, keepdims=True)
        require_finite(highest)
        if self.temperature == 0:
            probs = np.zeros(logits.shape)
            np.put_along_axis(probs, logits.argmax(axis=-1)[:, None], 1.0, axis=-1)
            return probs
        probs = self._relative(logits, highest)
        kept = self._kept(logits, highest)
        if kept is not None:
            probs *= kept
        if self.min_p:
            probs *= probs >= self.min_p
        probs /= probs.sum(axis=-1, keepdims=True)
        return probs

    def choose(self, logits: Floats, rng: Randomness) -> Tokens:
        """(B, V) -> (B,) tokens, by inverting the cumulative distribution at one uniform each."""
        if self.temperature == 0:
            require_finite(logits.max(axis=-1))
            return np.asarray(logits.argmax(axis=-1))
        return drawn(self.probabilities(logits), uniforms(rng, len(logits)))

    def _relative(self, logits: Floats, highest: Floats) -> Floats:
        """Probabilities as parts of the likeliest token's."""
        scores = logits.astype(np.float64)
        with np.errstate(over="ignore"):  # to -inf, where the probability is 0
            scores -= highest
            if self.temperature != 1:
                scores /= self.temperature
        return np.exp(scores, out=scores)

    def _kept(self, logits: Floats, highest: Floats) -> Any:
        """(B, V), true for what top-k and top-p keep; None where that is everything."""
        V = logits.shape[1]
        k = V if self.top_k is None else min(self.top_k, V)
        if self.top_p is None or self.top_p == 1:
            if k == V:
                return None
            counts = np.full((len(logits), 1), k)
            ordered = -np.partition(-logits, k - 1, axis=-1)
        else:
            ordered = -np.sort(-logits, axis=-1)  # the likeliest first
            probs = self._relative(ordered[:, :k], highest)
            probs /= probs.sum(axis=-1, keepdims=True)
            reached = np.cumsum(probs, axis=-1)[:, :-1]  # by the tokens before each but the first
            rounding = V * np.finfo(np.float64).eps  # of a sum of so many
            counts = 1 + (reached < self.top_p * (1 - rounding)).sum(axis=-1, keepdims=True)
        least = np.take_along_axis(ordered, counts - 1, axis=-1)
        above, equal = logits > least, logits == least
        places = counts - above.sum(axis=-1, keepdims=True)  # for the smallest of the equal tokens
        return above | (equal & (np.cumsum(equal, axis=-1) <= places))


def drawn(probs: Floats, u: Floats) -> Tokens:
    """A token (B,) of each distribution (B, V), by the uniform number u (B,) in [0, 1)."""
    cumulative = np.cumsum(probs, axis=-1)
    return np.asarray((cumulative <= u[:, None] * cumulative[:, -1:]).sum(axis=-1))


def uniforms(rng: Randomness, n: int) -> Floats:
    """n numbers in [0, 1)."""
    if rng is None:
        raise UsageError(
            "sampling draws random numbers: give the generator (rng=...), or temperature=0 for "
            "the likeliest token."
        )
    if isinstance(rng, Generator):
        return rng.uniform((n,), dtype="float64")
    return np.array([stream.uniform((), dtype="float64") for stream in rng], np.float64)


def require_finite(highest: Floats) -> None:
    """Raise DivergedError unless the largest logit of each row is finite."""
    if not np.isfinite(highest).all():
        raise DivergedError(
            "the model's logits are not finite, so no token can be chosen. Its weights are "
            "damaged or diverged in training; use another checkpoint."
        )
