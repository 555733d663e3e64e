"""From the logits of the next token to a token: temperature, top-k, top-p.

Everything is float64 and has a closed form, so a draw can be checked against its distribution.
B batch, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.arguments import integer, is_finite
from tinygen.errors import DivergedError, UsageError
from tinygen.random import Generator

Floats = np.ndarray[Any, np.dtype[np.float64]]
Tokens = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Sampler:
    """How a token is chosen: `temperature` 0 takes the likeliest, 1 the model's own distribution.

    `top_k` keeps the k likeliest tokens (Fan et al. 2018), then `top_p` the fewest likeliest ones
    whose probabilities reach p (Holtzman et al. 2020). Among equals the smaller token comes first.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not (is_finite(self.temperature) and self.temperature >= 0):
            raise UsageError(f"temperature is {self.temperature!r}; give a finite number >= 0.")
        if self.top_k is not None:
            integer("top_k (None for all tokens)", self.top_k, least=1)
        if self.top_p is not None and not (is_finite(self.top_p) and 0 < self.top_p <= 1):
            raise UsageError(
                f"top_p is {self.top_p!r}; give 0 < top_p <= 1, or None for all tokens."
            )

    def probabilities(self, logits: Floats) -> Floats:
        """(B, V) -> (B, V): the distribution that `choose` draws from; rows sum to 1."""
        if not np.isfinite(logits.max(axis=-1)).all():
            raise DivergedError(
                "the model's logits are not finite, so no token can be chosen. Its weights are "
                "damaged or diverged in training; use another checkpoint."
            )
        order = np.argsort(-logits, axis=-1, kind="stable")  # likeliest first
        scores = np.take_along_axis(logits, order, axis=-1).astype(np.float64)
        with np.errstate(over="ignore"):  # to -inf, where the probability is 0
            scores -= scores[:, :1]
            if self.temperature > 0:
                scores /= self.temperature
        probs = np.exp(scores)
        kept = probs.shape[1] if self.top_k is None else self.top_k
        probs[:, 1 if self.temperature == 0 else kept :] = 0
        probs /= probs.sum(axis=-1, keepdims=True)
        if self.top_p is not None and self.top_p < 1:
            reached = np.cumsum(probs, axis=-1)[:, :-1]  # by the tokens before each but the first
            rounding = probs.shape[1] * np.finfo(np.float64).eps  # of a sum of so many
            probs[:, 1:][reached >= self.top_p * (1 - rounding)] = 0
            probs /= probs.sum(axis=-1, keepdims=True)
        unsorted = np.empty_like(probs)
        np.put_along_axis(unsorted, order, probs, axis=-1)
        return unsorted

    def choose(self, logits: Floats, rng: Generator | None) -> Tokens:
        """(B, V) -> (B,) tokens, by inverting the cumulative distribution at one uniform each."""
        if self.temperature == 0:
            return np.asarray(self.probabilities(logits).argmax(axis=-1))
        if rng is None:
            raise UsageError(
                "sampling draws random numbers: give the generator (rng=...), or temperature=0 for "
                "the likeliest token."
            )
        cumulative = np.cumsum(self.probabilities(logits), axis=-1)
        u = rng.uniform((len(logits), 1), dtype="float64") * cumulative[:, -1:]
        return np.asarray((cumulative <= u).sum(axis=-1))
