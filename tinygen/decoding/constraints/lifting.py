"""From bytes to tokens: which tokens may follow in a state of an automaton, and where they lead.

The bytes of all tokens are walked through the automaton side by side, so a state costs as many
array operations as the longest token has bytes; it is done once, when the state is first reached.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from tinygen.decoding.constraints.automaton import NOWHERE, Automaton, distances
from tinygen.decoding.sampler import Tokens
from tinygen.decoding.text import Vocabulary

EXACT = 10_000_000
"""States times tokens up to which distances are counted in tokens: half a second's work."""


class Moves(NamedTuple):
    """The tokens that may follow in a state, sorted, and the state after each."""

    tokens: Tokens
    targets: Tokens


class TokenAutomaton:
    """An automaton whose letters are tokens. Those without bytes are never allowed."""

    def __init__(self, automaton: Automaton, vocabulary: Vocabulary) -> None:
        self.automaton = automaton
        texts = {token: text for token, text in enumerate(vocabulary) if text}
        self._tokens = np.fromiter(texts, np.int64, len(texts))
        self._lengths = np.array([len(text) for text in texts.values()], np.int64)
        self._bytes = np.zeros((len(texts), self._lengths.max(initial=0)), np.uint8)
        for row, text in zip(self._bytes, texts.values(), strict=True):
            row[: len(text)] = np.frombuffer(text, np.uint8)
        self._moves: dict[int, Moves] = {}

    def moves(self, state: int) -> Moves:
        if state not in self._moves:
            states = np.full(len(self._tokens), state, np.int32)
            going = np.arange(len(states))
            for place in range(self._bytes.shape[1]):
                going = going[(states[going] != NOWHERE) & (self._lengths[going] > place)]
                states[going] = self.automaton.after[states[going], self._bytes[going, place]]
            kept = states != NOWHERE
            self._moves[state] = Moves(self._tokens[kept], states[kept].astype(np.int64))
        return self._moves[state]

    def after(self, state: int, token: int) -> int:
        """The state after a token, `NOWHERE` where it is not allowed."""
        tokens, targets = self.moves(state)
        place = int(np.searchsorted(tokens, token))
        found = place < len(tokens) and tokens[place] == token
        return int(targets[place]) if found else NOWHERE

    def accepts(self, state: int) -> bool:
        return bool(self.automaton.accepts[state])

    @cached_property
    def distances(self) -> Any:
        """(S,): how many tokens complete a text from each state; `NEVER` where none
        do.

        The least number, unless there are so many states and tokens that it would take long: then
        the number of bytes, if each byte that may come is a token by itself.
        """
        many = len(self.automaton.after) * len(self._tokens) > EXACT
        single = self._bytes[self._lengths == 1, 0]
        wanted = np.flatnonzero((self.automaton.after != NOWHERE).any(axis=0))
        if many and np.isin(wanted, single).all():
            return self._distances_by(lambda state: np.unique(self.automaton.after[state]))
        return self._distances_by(lambda state: np.unique(self.moves(state).targets))

    def _distances_by(self, following: Callable[[int], Any]) -> Any:
        """The least numbers of steps to a state that accepts, by those that steps lead to."""
        targets: dict[int, Any] = {}
        waiting = [0]
        while waiting:
            state = waiting.pop()
            if state not in targets:
                found = following(state)
                targets[state] = found[found != NOWHERE].tolist()
                waiting += targets[state]
        return distances(self.automaton.accepts, targets)
