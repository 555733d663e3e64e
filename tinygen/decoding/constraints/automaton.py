"""From a language to a deterministic automaton over the bytes of its texts in UTF-8.

A nondeterministic automaton is built by Thompson's construction (1968), one fragment a node of the
tree; the subset construction (Rabin and Scott 1959) makes it deterministic, and states from which
no text can be completed are cut off. So every byte that has a transition can be continued.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tinygen.decoding.constraints.language import Chain, Characters, Choice, Language
from tinygen.decoding.constraints.utf8 import byte_ranges
from tinygen.errors import UsageError

LARGEST = 20_000
"""States of a deterministic automaton, at most; fragments may have ten times as many."""

NOWHERE = -1

NEVER = np.iinfo(np.int64).max
"""The distance of a state from which no text can be completed."""


@dataclass(frozen=True)
class Automaton:
    """State 0 is the start. `after[state, byte]` is the next state, or `NOWHERE`."""

    after: np.ndarray[Any, np.dtype[np.int32]]  # (S, 256)
    accepts: np.ndarray[Any, np.dtype[np.bool]]  # (S,)

    def matches(self, text: bytes) -> bool:
        state = 0
        for byte in text:
            state = int(self.after[state, byte])
            if state == NOWHERE:
                return False
        return bool(self.accepts[state])


def automaton_of(language: Language) -> Automaton:
    """Raises UsageError where no text belongs to the language, or its automaton is too large."""
    fragments = _Fragments()
    end = fragments.add(language, 0)
    return completable(*_deterministic(fragments, end))


class _Fragments:
    """A nondeterministic automaton: for each state, where it goes without a byte, and by which."""

    def __init__(self) -> None:
        self.free: list[list[int]] = [[]]
        self.by_byte: list[list[tuple[int, int, int]]] = [[]]

    def new(self) -> int:
        if len(self.free) >= 10 * LARGEST:
            raise _too_large()
        self.free.append([])
        self.by_byte.append([])
        return len(self.free) - 1

    def add(self, language: Language, start: int) -> int:
        """States for the texts of a language, from `start` on; the state that they end in."""
        if isinstance(language, Characters):
            end = self.new()
            for first, last in language.ranges:
                for sequence in byte_ranges(first, last):
                    state = start
                    for low, high in sequence[:-1]:
                        target = self.new()
                        self.by_byte[state].append((low, high, target))
                        state = target
                    self.by_byte[state].append((*sequence[-1], end))
            return end
        if isinstance(language, Chain):
            for part in language.parts:
                start = self.add(part, start)
            return start
        end = self.new()
        if isinstance(language, Choice):
            for option in language.options:
                begin = self.new()
                self.free[start].append(begin)
                self.free[self.add(option, begin)].append(end)
            return end
        for _ in range(language.least):
            start = self.add(language.part, start)
        if language.most is None:
            again = self.new()
            self.free[start].append(again)
            self.free[self.add(language.part, again)].append(again)
            start = again
        else:
            for _ in range(language.most - language.least):
                self.free[start].append(end)
                start = self.add(language.part, start)
        self.free[start].append(end)
        return end

    def reach(self, states: set[int]) -> frozenset[int]:
        """These states and those that they go to without a byte."""
        waiting, reached = list(states), set(states)
        while waiting:
            for target in self.free[waiting.pop()]:
                if target not in reached:
                    reached.add(target)
                    waiting.append(target)
        return frozenset(reached)


def _deterministic(fragments: _Fragments, end: int) -> tuple[list[Any], list[bool]]:
    """Rows of the transition table, and whether each state accepts."""
    start = fragments.reach({0})
    numbers, waiting = {start: 0}, deque([start])
    rows, accepts = [], []
    while waiting:
        states = waiting.popleft()
        row = np.full(256, NOWHERE, np.int32)
        edges = [edge for state in states for edge in fragments.by_byte[state]]
        cuts = sorted({low for low, _, _ in edges} | {high + 1 for _, high, _ in edges})
        for first, stop in pairwise(cuts):  # bytes that all edges treat alike
            targets = {target for low, high, target in edges if low <= first <= high}
            if targets:
                reached = fragments.reach(targets)
                if reached not in numbers:
                    numbers[reached] = len(numbers)
                    waiting.append(reached)
                    if len(numbers) > LARGEST:
                        raise _too_large()
                row[first:stop] = numbers[reached]
        rows.append(row)
        accepts.append(end in states)
    return rows, accepts


def completable(rows: list[Any], accepts: list[bool]) -> Automaton:
    """Without transitions to states from which nothing is accepted."""
    after, accepting = np.stack(rows), np.array(accepts)
    targets = {i: np.unique(row[row != NOWHERE]).tolist() for i, row in enumerate(after)}
    alive = distances(accepting, targets) != NEVER
    if not alive[0]:
        raise UsageError("the constraint cannot be met: no text at all matches it.")
    return Automaton(np.where(alive[after], after, np.int32(NOWHERE)), accepting)


def distances(accepts: Any, targets: Mapping[int, Sequence[int]]) -> Any:
    """(S,): the least number of steps from each state to one that `accepts`, `NEVER` where there is
    no way; a step leads from a state, if it is among them, to each of its `targets`."""
    sources: dict[int, list[int]] = {}
    for state, reached in targets.items():
        for target in reached:
            sources.setdefault(target, []).append(state)
    found, steps = np.full(len(accepts), NEVER), 0
    layer = {state for state in targets if accepts[state]}
    while layer:
        found[list(layer)] = steps
        steps += 1
        before = {source for state in layer for source in sources.get(state, ())}
        layer = {state for state in before if found[state] == NEVER}
    return found


def _too_large() -> UsageError:
    return UsageError(
        f"the constraint needs more than {LARGEST} states; make its counted repetitions smaller."
    )
