"""The texts of a batch while they grow, and when each of them ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np

from tinygen.arguments import integer
from tinygen.decoding.processors import Context
from tinygen.decoding.sampler import Floats, Tokens
from tinygen.errors import OutOfRangeError

NOTHING = -1
"""What stands in the place of a token where a row has ended before."""


Ends: TypeAlias = int | Iterable[int]
"""The token that ends a text, or several."""


class Step:
    """What one position added to each row of a batch."""

    def __init__(self, tokens: Tokens, log_probs: Callable[[], Floats]) -> None:
        self.tokens = tokens
        """(B,), `NOTHING` (-1) in rows that have ended."""
        self._log_probs = log_probs

    @cached_property
    def log_probs(self) -> Floats:
        """(B,): log p of each token in nats by the model itself, whatever processors and filters
        made of it; 0 in rows that have ended."""
        return self._log_probs()


@runtime_checkable
class Stop(Protocol):
    """What ends a row: `StopStrings`, a `Constraint` that is met, or the user's own."""

    def finished(self, context: Context) -> bool:
        """Whether the text is complete as it stands."""


class Row:
    """One growing text."""

    def __init__(self, prompt: Tokens, budget: int) -> None:
        self.prompt, self.length, self.budget = len(prompt), len(prompt), budget
        self.buffer = prompt

    def append(self, token: int) -> None:
        if self.length == len(self.buffer):
            self.buffer = np.concatenate([self.buffer, np.empty(self.length + 64, np.int64)])
        self.buffer[self.length] = token
        self.length += 1

    def drop(self, n: int) -> None:
        """Take the last n tokens back."""
        self.length -= n

    def fork(self) -> Row:
        """Another text that begins as this one."""
        other = Row(self.buffer, self.budget)
        other.buffer, other.prompt, other.length = self.buffer.copy(), self.prompt, self.length
        return other

    @property
    def context(self) -> Context:
        used = self.length - self.prompt
        return Context(self.buffer[: self.length], self.prompt, self.budget - used)


class Ending:
    """When a row is complete: at one of the `end` tokens, or when one of the `stops` says so."""

    def __init__(self, end: Ends, stops: Sequence[object], vocab_size: int) -> None:
        self.end = end_tokens(end, vocab_size)
        self.stops = [stop for stop in stops if isinstance(stop, Stop)]

    def reached(self, row: Row) -> bool:
        context = row.context
        if len(context.added) and int(context.tokens[-1]) in self.end:
            return True
        return any(stop.finished(context) for stop in self.stops)


def end_tokens(end: Ends, vocab_size: int) -> frozenset[int]:
    """The tokens that end a text. Raises UsageError, and OutOfRangeError beyond the vocabulary."""
    tokens = [end] if isinstance(end, (int, np.integer)) else list(end)
    found = frozenset(integer("end: a token", token, least=0) for token in tokens)
    if max(found, default=-1) >= vocab_size:
        raise OutOfRangeError(
            f"end: token {max(found)} is beyond the vocabulary 0 ... {vocab_size - 1}."
        )
    return found


def log_softmax(logits: Floats) -> Floats:
    """(B, V) -> (B, V), in float64."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted
