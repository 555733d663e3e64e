"""What decoding asks of a model: a session that reads tokens and gives the logits that follow."""

from __future__ import annotations

from typing import Protocol

from tinygen.decoding.sampler import Floats, Tokens


class Session(Protocol):
    """A batch of B texts that a model has read so far."""

    def read(self, tokens: Tokens, last: int = 1, padding: Tokens | None = None) -> Floats:
        """Read on: tokens (B, T) -> the logits (B, last, V) after each of the `last` of them.

        `padding` (B,) counts the places at the left of each row that are filling and not text.
        Only the first tokens of a session decide its B; a session of one text takes any B, each
        row of which then continues that text.
        """

    def rewind(self, n: int) -> None:
        """Forget the last n tokens, of those that the last `read` and its rewinds left."""

    def select(self, rows: Tokens) -> None:
        """Go on with these rows (indices, of which some may stand twice) as the batch."""

    def fork(self) -> Session:
        """Another session that has read the same."""


class LanguageModel(Protocol):
    """Whatever gives a distribution of the next token: GPT, Llama, `Recomputed`, `Prefixed`."""

    @property
    def vocab_size(self) -> int:
        """Tokens are 0 ... vocab_size - 1."""

    def session(self) -> Session:
        """A new session, which has read nothing."""
