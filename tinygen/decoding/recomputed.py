"""Any function from tokens to logits as a model: each step reads the whole text anew.

It is the reference that caches are held against, and what a model without a cache needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinygen.decoding.sampler import Floats, Tokens


@dataclass(frozen=True)
class Recomputed:
    """`logits` maps tokens (1, T), T at most `block_size`, to logits (1, T, V)."""

    logits: Callable[[Tokens], Floats]
    vocab_size: int
    block_size: int | None = None

    def session(self) -> RecomputedSession:
        return RecomputedSession(self)


class RecomputedSession:
    """The texts themselves, and nothing of what was computed from them."""

    def __init__(self, model: Recomputed) -> None:
        self.model = model
        self.rows: list[Tokens] = []

    def read(self, tokens: Tokens, last: int = 1, padding: Tokens | None = None) -> Floats:
        """The logits (B, last, V); where the text is longer than the model's block, each of them
        from the last block that ends there."""
        B = len(tokens)
        left = np.zeros(B, int) if padding is None else padding
        rows = self.rows or [np.empty(0, np.int64)]
        rows = rows * B if len(rows) == 1 else rows
        self.rows = [np.append(r, new[n:]) for r, new, n in zip(rows, tokens, left, strict=True)]
        found = np.array([[self._after(row, back) for back in range(last)] for row in self.rows])
        return found.reshape(B, last, self.model.vocab_size)[:, ::-1]

    def _after(self, row: Tokens, back: int) -> Floats:
        """The logits (V,) after all of `row` but its last `back` tokens."""
        text = row[: len(row) - back]
        if self.model.block_size is not None:
            text = text[-self.model.block_size :]
        return self.model.logits(text[None])[0, -1]

    def rewind(self, n: int) -> None:
        self.rows = [row[: len(row) - n] for row in self.rows]

    def select(self, rows: Tokens) -> None:
        self.rows = [self.rows[i] for i in rows]

    def fork(self) -> RecomputedSession:
        other = RecomputedSession(self.model)
        other.rows = list(self.rows)
        return other
