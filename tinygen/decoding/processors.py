"""Logits processors: what changes the scores of the next token before one is chosen.

A processor is any function `(contexts, logits) -> logits`: one `Context` a row of the batch, and
the logits (B, V) in float64, of which it returns a changed copy. It must depend on these alone, for
beam search and speculative sampling ask about texts that are dropped again. One that makes no score
of 0 or less positive may say so by an attribute `never_above_zero`: beam search, which gives it
log-probabilities, then ends as soon as nothing can overtake the best text.

    def no_digits(contexts, logits):
        return np.where(is_digit, -np.inf, logits)

    sample(model, prompt, max_new_tokens=20, rng=rng, processors=[no_digits, FrequencyPenalty(0.5)])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from tinygen.arguments import integer, number
from tinygen.decoding.sampler import Floats, Tokens, require_finite
from tinygen.errors import OutOfRangeError, ShapeError, UsageError


class Context(NamedTuple):
    """One row of a batch while it grows."""

    tokens: Tokens
    """The prompt and what was added to it (T,)."""
    prompt: int
    """How many of them are the prompt."""
    budget: int
    """How many tokens may still be added."""

    @property
    def added(self) -> Tokens:
        return self.tokens[self.prompt :]


Processor: TypeAlias = Callable[[Sequence[Context], Floats], Floats]


def processed(
    processors: Sequence[Processor],
    contexts: Sequence[Context],
    logits: Floats,
    *,
    dead_ends: bool = False,
) -> Floats:
    """The model's logits (B, V) after every processor, in order.

    Raises DivergedError where the model's own are not finite, ShapeError where a processor changes
    their shape, UsageError where the processors leave a row no token, or, where `dead_ends` are
    allowed, none of the rows.
    """
    if not processors or not len(logits):
        return logits
    require_finite(logits.max(axis=-1))
    found = logits.astype(np.float64)
    for processor in processors:
        found = processor(contexts, found)
        if getattr(found, "shape", None) != logits.shape:
            raise ShapeError(
                f"the processor {named(processor)} returned "
                f"{getattr(found, 'shape', type(found).__name__)} for logits {logits.shape}; "
                "return an array of their shape."
            )
        highest = found.max(axis=-1)
        possible = highest > -np.inf
        if not (possible.any() if dead_ends else possible.all()):
            raise UsageError(
                f"the processor {named(processor)} leaves no token to choose from, after "
                f"{len(contexts[int(highest.argmin())].added)} added tokens; forbid less."
            )
    return found


def named(processor: object) -> str:
    return getattr(processor, "__name__", type(processor).__name__)


class RepetitionPenalty:
    """Scores of tokens that stand in the text already, prompt included: divided by `penalty` where
    positive, multiplied where negative (Keskar et al. 2019, section 4.1)."""

    never_above_zero = True

    def __init__(self, penalty: float) -> None:
        self.penalty = number("repetition penalty", penalty, above=0)

    def __call__(self, contexts: Sequence[Context], logits: Floats) -> Floats:
        found = logits.copy()
        for row, context in zip(found, contexts, strict=True):
            seen = np.unique(context.tokens)
            scores = row[seen]
            row[seen] = np.where(scores < 0, scores * self.penalty, scores / self.penalty)
        return found


class FrequencyPenalty:
    """Scores less `frequency` for each time that a token was added before, and less `presence` if
    it was at all. The prompt does not count."""

    def __init__(self, frequency: float = 0.0, presence: float = 0.0) -> None:
        self.frequency = number("frequency penalty", frequency)
        self.presence = number("presence penalty", presence)

    def __call__(self, contexts: Sequence[Context], logits: Floats) -> Floats:
        counts = np.stack([np.bincount(c.added, minlength=logits.shape[1]) for c in contexts])
        return logits - self.frequency * counts - self.presence * (counts > 0)


class NoRepeatNGram:
    """No sequence of n tokens comes twice, prompt included (Paulus et al. 2018, section 2.5)."""

    never_above_zero = True

    def __init__(self, n: int) -> None:
        self.n = integer("no-repeat n-gram: n", n, least=1)

    def __call__(self, contexts: Sequence[Context], logits: Floats) -> Floats:
        found = logits.copy()
        for row, context in zip(found, contexts, strict=True):
            if len(context.tokens) >= self.n:
                grams = np.lib.stride_tricks.sliding_window_view(context.tokens, self.n)
                begun = context.tokens[len(context.tokens) - self.n + 1 :]  # n - 1 tokens
                row[grams[(grams[:, :-1] == begun).all(axis=1), -1]] = -np.inf
        return found


class LogitBias:
    """Scores plus a number for each token named; -inf forbids it."""

    def __init__(self, biases: Mapping[int, float]) -> None:
        self.tokens = np.array([integer("logit bias: a token", t, least=0) for t in biases], int)
        self.biases = np.array([float(bias) for bias in biases.values()])
        if np.isnan(self.biases).any() or (self.biases == np.inf).any():
            raise UsageError("logit bias: a bias is a finite number, or -inf to forbid a token.")

    def __call__(self, contexts: Sequence[Context], logits: Floats) -> Floats:
        if self.tokens.max(initial=-1) >= logits.shape[1]:
            raise OutOfRangeError(
                f"logit bias: token {self.tokens.max()} is beyond the vocabulary "
                f"0 ... {logits.shape[1] - 1}."
            )
        found = logits.copy()
        found[:, self.tokens] += self.biases
        return found
