"""A watermark in text: a secret key makes some tokens green, and green ones are favoured
(Kirchenbauer et al. 2023, "A Watermark for Large Language Models", algorithm 2).

Whether token t is green after token s is one bit of the random stream of (key, s), 1 with
probability `green`. (The paper draws lists of an exact length; independent bits make the number of
green tokens in a text without the watermark exactly binomial, so that the p-value is calibrated and
not a normal approximation.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tinygen.arguments import integer, number
from tinygen.decoding.processors import Context
from tinygen.decoding.prompts import Value
from tinygen.decoding.sampler import Floats, Tokens
from tinygen.errors import DtypeError, UsageError
from tinygen.random import Generator
from tinygen.tensor import as_numpy


class Detection(NamedTuple):
    """What the detector found in a text."""

    green: int
    """Green tokens among the scored ones."""
    scored: int
    """Different pairs of neighbouring tokens."""
    p_value: float
    """The probability of as many green ones or more in a text that knows nothing of the key."""


class Watermark:
    """A logits processor that adds `strength` (delta of the paper, in nats) to the logits of green
    tokens, and its detector, `detect(tokens)`.

    `key` is the secret: an integer or a string. `green` (gamma) is the part of the tokens that is
    green. Where one token is nearly certain the mark changes nothing, so a text of low entropy
    carries little of it.
    """

    def __init__(
        self, key: int | str, vocab_size: int, *, green: float = 0.25, strength: float = 2.0
    ) -> None:
        self.root = Generator(key).spawn("watermark")
        self.vocab_size = integer("watermark: vocab_size", vocab_size, least=1)
        self.green = number("watermark: green", green, above=0, below=1)
        self.strength = number("watermark: strength", strength, least=0)
        self.greens_after = lru_cache(maxsize=1024)(self._greens_after)

    def __call__(self, contexts: Sequence[Context], logits: Floats) -> Floats:
        if logits.shape[1] != self.vocab_size:
            raise UsageError(
                f"the watermark is for {self.vocab_size} tokens, and the model has "
                f"{logits.shape[1]}; make one for this model."
            )
        marks = np.stack([self.greens_after(int(c.tokens[-1])) for c in contexts])
        return logits + self.strength * marks

    def detect(self, tokens: Value) -> Detection:
        """Look for the mark in a text (T,), without the model that wrote it.

        Each pair of neighbours counts once, however often it comes: repetitions are no new evidence
        (Kirchenbauer et al. 2023, section 4.1; Fernandez et al. 2023). Under a key that the text
        does not know P(p_value <= a) <= a for every a. Raises UsageError for a text without pairs.
        """
        text = self._text(tokens)
        pairs = {(int(s), int(t)) for s, t in pairwise(text)}
        if not pairs:
            raise UsageError("the detector compares neighbouring tokens: give it two or more.")
        green = sum(bool(self.greens_after(s)[t]) for s, t in pairs)
        return Detection(green, len(pairs), binomial_tail(green, len(pairs), self.green))

    def _greens_after(self, token: int) -> Any:
        """(V,) booleans: which tokens are green after `token`."""
        drawn = self.root.spawn(str(token)).uniform((self.vocab_size,), dtype="float64")
        return drawn < self.green

    def _text(self, tokens: Value) -> Tokens:
        text = np.asarray(as_numpy(tokens))
        if text.ndim != 1 or text.dtype.kind not in "iu":
            raise DtypeError(
                f"the detector takes integers (T,), not {text.dtype}{list(text.shape)}."
            )
        if text.size and not 0 <= text.min() <= text.max() < self.vocab_size:
            raise UsageError(
                f"the text has tokens {text.min()} ... {text.max()}, and the watermark is for "
                f"0 ... {self.vocab_size - 1}; encode it with the tokenizer that wrote it."
            )
        return text


def binomial_tail(k: int, n: int, p: float) -> float:
    """P(X >= k) for X ~ Binomial(n, p): the sum of its terms, each by its logarithm."""
    if k <= 0:
        return 1.0
    terms = (
        math.lgamma(n + 1)
        - math.lgamma(i + 1)
        - math.lgamma(n - i + 1)
        + i * math.log(p)
        + (n - i) * math.log1p(-p)
        for i in range(k, n + 1)
    )
    return min(1.0, math.fsum(map(math.exp, terms)))
