"""A constraint as a logits processor: only tokens after which the text can still be completed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.decoding.constraints.automaton import NEVER, NOWHERE, Automaton, automaton_of
from tinygen.decoding.constraints.json_schema import language_of_schema
from tinygen.decoding.constraints.language import Language
from tinygen.decoding.constraints.lifting import TokenAutomaton
from tinygen.decoding.constraints.regex import parse
from tinygen.decoding.processors import Context
from tinygen.decoding.rows import Ends, end_tokens
from tinygen.decoding.sampler import Floats, Tokens
from tinygen.decoding.text import Vocabulary
from tinygen.errors import UsageError

REMEMBERED = 4096
"""Texts whose state is kept, so that a step looks at one token and not at all of them."""


class Constraint:
    """The added text belongs to a language, whenever it ends.

        Constraint.regex(r"[A-Z][a-z]+ \\\\d{4}", vocabulary)
        Constraint.json_schema({"type": "object", ...}, vocabulary, end=tokenizer.end)
        Constraint(line_with_words(["fast", "library"], 5, 12), vocabulary)

    `vocabulary` is the bytes of every token, None for those that are no text. A text ends with one
    of the `end` tokens, if the model has any, which are allowed where the text is complete; it also
    ends where nothing can follow. The last tokens of the budget go to completing the text: what
    `max_new_tokens` cuts off is a whole text too. Raises UsageError where that is impossible.
    """

    never_above_zero = True

    def __init__(
        self, language: Language | Automaton, vocabulary: Vocabulary, end: Ends = ()
    ) -> None:
        self.size = len(vocabulary)
        self.end = end_tokens(end, self.size)
        texts = [None if token in self.end else text for token, text in enumerate(vocabulary)]
        made = language if isinstance(language, Automaton) else automaton_of(language)
        self.tokens = TokenAutomaton(made, texts)
        if self.tokens.distances[0] == NEVER:
            raise UsageError(
                "the constraint cannot be met: no tokens of the vocabulary together make a text "
                "that matches it."
            )
        self._states: dict[bytes, int] = {}

    @classmethod
    def regex(cls, pattern: str, vocabulary: Vocabulary, end: Ends = ()) -> Constraint:
        """Texts that the whole regular expression matches; see `constraints.regex`."""
        return cls(parse(pattern), vocabulary, end)

    @classmethod
    def json_schema(cls, schema: Any, vocabulary: Vocabulary, end: Ends = ()) -> Constraint:
        """JSON texts that are valid under a schema; see `constraints.json_schema`."""
        return cls(language_of_schema(schema), vocabulary, end)

    def __call__(self, contexts: Sequence[Context], logits: Floats) -> Floats:
        if logits.shape[1] != self.size:
            raise UsageError(
                f"the constraint is for {self.size} tokens, and the model has {logits.shape[1]}; "
                "give it the vocabulary of this model."
            )
        found = np.full(logits.shape, -np.inf)
        for row, context, scores in zip(found, contexts, logits, strict=True):
            state = self._state(context.added)
            if state == NOWHERE:
                continue
            needed = self.tokens.distances[state]
            if needed > context.budget:
                raise UsageError(
                    f"the constraint needs {needed} tokens to be met, and {context.budget} are "
                    "left; allow more tokens."
                )
            tokens, targets = self.tokens.moves(state)
            allowed = tokens[self.tokens.distances[targets] < context.budget]
            row[allowed] = scores[allowed]
            if self.tokens.accepts(state):
                ends = list(self.end)
                row[ends] = scores[ends]
        return found

    def finished(self, context: Context) -> bool:
        """Whether the text is complete and nothing can follow."""
        state = self._state(context.added)
        return state != NOWHERE and not len(self.tokens.moves(state).tokens)

    def _state(self, added: Tokens) -> int:
        """Where the automaton is after these tokens."""
        key = added.tobytes()
        if key not in self._states:
            if len(self._states) >= REMEMBERED:
                self._states.clear()
            before = self._states.get(added[:-1].tobytes()) if len(added) else 0
            state, rest = (0, added) if before is None else (before, added[-1:])
            for token in rest:
                state = NOWHERE if state == NOWHERE else self.tokens.after(state, int(token))
            self._states[key] = state
        return self._states[key]
