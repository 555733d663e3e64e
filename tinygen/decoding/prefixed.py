"""Prompt reuse: a model that has read the beginning of every prompt already."""

from __future__ import annotations

import numpy as np

from tinygen.decoding.prompts import Prompts, Value, as_prompts, filled
from tinygen.decoding.protocol import LanguageModel, Session
from tinygen.decoding.sampler import Floats, Tokens
from tinygen.errors import UsageError


class Prefixed:
    """`model` after one text, tokens (1, T): read once, and shared by every prompt that begins as
    it does.

        assistant = Prefixed(model, instructions)
        sample(assistant, np.concat([instructions, question], axis=1), ...)

    A session begins with a copy of what the model kept of that text, which takes the time of a copy
    and not of a pass, and reads on where the first of its prompts departs from it.
    """

    def __init__(self, model: LanguageModel, tokens: Value) -> None:
        prompts = as_prompts(tokens, model.vocab_size)
        if len(prompts.tokens) != 1:
            raise UsageError(f"a prefix is one text (1, T), not {len(prompts.tokens)}.")
        self.model, self.vocab_size = model, model.vocab_size
        self.prefix = prompts.tokens[0]
        self._read = model.session()
        self._read.read(prompts.tokens)

    def session(self) -> PrefixedSession:
        return PrefixedSession(self)

    def after(self, n: int) -> Session:
        """A session of the model that has read the first n tokens of the prefix."""
        if not n:
            return self.model.session()
        session = self._read.fork()
        session.rewind(len(self.prefix) - n)
        return session


class PrefixedSession:
    """A session that finds out with its first tokens what of them was read before."""

    def __init__(self, prefixed: Prefixed, session: Session | None = None) -> None:
        self.prefixed, self.read_on = prefixed, session

    def read(self, tokens: Tokens, last: int = 1, padding: Tokens | None = None) -> Floats:
        if self.read_on is None:
            rows = Prompts(tokens, padding).rows
            shared = min((self._shared(row) for row in rows), default=0)
            # The logits that are asked for come of a pass, also where all was read.
            n = max(0, min([shared, *(len(row) - last for row in rows)]))
            self.read_on = self.prefixed.after(n)
            tokens, padding = filled([row[n:] for row in rows])
        return self.read_on.read(tokens, last, padding)

    def _shared(self, row: Tokens) -> int:
        """How many tokens a text begins with as the prefix does."""
        n = min(len(row), len(self.prefixed.prefix))
        differs = np.flatnonzero(row[:n] != self.prefixed.prefix[:n])
        return int(differs[0]) if differs.size else n

    def rewind(self, n: int) -> None:
        if self.read_on is not None:
            self.read_on.rewind(n)

    def select(self, rows: Tokens) -> None:
        if self.read_on is not None:
            self.read_on.select(rows)

    def fork(self) -> PrefixedSession:
        session = None if self.read_on is None else self.read_on.fork()
        return PrefixedSession(self.prefixed, session)
