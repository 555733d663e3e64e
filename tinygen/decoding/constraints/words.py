"""One line that holds given words, each at least once and in any order, and is of a given length.

A word is a run of letters, digits, underscores and characters outside ASCII; all else stands
between words. The automaton's state is the product of what matters: which of the given words were
there, how many words (or characters) there are so far, up to which letter the word at hand agrees
with given ones, and where in a character of several bytes the text stands (table 3-7 of the
Unicode Standard). Only states that can be reached are made, and those from which no
line can be completed are cut off (cf. Hokamp and Liu 2017, arXiv:1704.07138, who bind a beam
search in this way).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from tinygen.decoding.constraints.automaton import (
    LARGEST,
    NOWHERE,
    Automaton,
    completable,
)
from tinygen.errors import UsageError

Unit = Literal["words", "characters"]

_WORD_BYTES = frozenset(
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
) | frozenset(range(0x80, 0x100))

_LEADS = {
    **dict.fromkeys(range(0xC2, 0xE0), ((0x80, 0xBF),)),
    **dict.fromkeys(range(0xE1, 0xF0), ((0x80, 0xBF),) * 2),
    0xE0: ((0xA0, 0xBF), (0x80, 0xBF)),
    0xED: ((0x80, 0x9F), (0x80, 0xBF)),
    **dict.fromkeys(range(0xF1, 0xF4), ((0x80, 0xBF),) * 3),
    0xF0: ((0x90, 0xBF), (0x80, 0xBF), (0x80, 0xBF)),
    0xF4: ((0x80, 0x8F), (0x80, 0xBF), (0x80, 0xBF)),
}
"""The bytes that may follow the first one of a character outside ASCII."""


class _State(NamedTuple):
    found: int
    """Bit i: word i was there."""
    length: int
    """Words begun, or characters."""
    word: bytes | None
    """The word at hand, as far as a given one begins so; b"" is none, None one that none is."""
    rest: tuple[tuple[int, int], ...]
    """What the character at hand still needs."""
    ended: bool


def line_with_words(
    words: Sequence[str],
    least: int = 0,
    most: int | None = None,
    *,
    unit: Unit = "words",
    match_case: bool = False,
) -> Automaton:
    """The lines, each with its newline, that hold all `words` and are `least` to `most` of the
    `unit` long. Without `match_case` letters of ASCII may be of either case. Raises UsageError
    where there is no such line, or what is given is no word."""
    return _Product(words, least, most, unit, match_case).automaton()


class _Product:
    def __init__(
        self, words: Sequence[str], least: int, most: int | None, unit: Unit, match_case: bool
    ) -> None:
        for word in words:
            if not word or not _WORD_BYTES.issuperset(word.encode("utf-8", "surrogateescape")):
                raise UsageError(
                    f"{word!r} is no word to include: a word is letters, digits and underscores, "
                    "without spaces or signs."
                )
        if least < 0 or (most is not None and most < least):
            raise UsageError(
                f"no line has {least} to {most} {unit}; give the smaller number first."
            )
        self.match_case, self.unit, self.least, self.most = match_case, unit, least, most
        given = [word.encode("utf-8", "surrogateescape") for word in words]
        self.words = sorted({word if match_case else word.lower() for word in given})
        self.begun = {word[:n] for word in self.words for n in range(len(word) + 1)}
        self.counted = least if most is None else most
        """Lengths above it are all alike."""

    def automaton(self) -> Automaton:
        start = _State(0, 0, b"", (), False)
        numbers, waiting, rows, accepts = {start: 0}, [start], [], []
        for state in waiting:  # which grows
            row = np.full(256, NOWHERE, np.int32)
            for byte in range(256):
                after = self.after(state, byte)
                if after is None:
                    continue
                if after not in numbers:
                    if len(numbers) >= LARGEST:
                        raise UsageError(
                            f"the words and the length need more than {LARGEST} states; give "
                            "fewer words or a smaller length."
                        )
                    numbers[after] = len(numbers)
                    waiting.append(after)
                row[byte] = numbers[after]
            rows.append(row)
            accepts.append(state.ended)
        return completable(rows, accepts)

    def after(self, state: _State, byte: int) -> _State | None:
        """The state after a byte, None where it may not come."""
        if state.ended:
            return None
        if state.rest:
            low, high = state.rest[0]
            if not low <= byte <= high:
                return None
            return state._replace(word=self._grown(state.word, byte), rest=state.rest[1:])
        if byte >= 0x80 and byte not in _LEADS:
            return None
        if byte == ord("\n"):
            found = self._closed(state)
            whole = found == (1 << len(self.words)) - 1 and state.length >= self.least
            return _State(0, 0, b"", (), True) if whole else None
        inside = byte in _WORD_BYTES
        begins = inside and state.word == b""
        length = state.length + (1 if self.unit == "characters" or begins else 0)
        if length > self.counted:
            if self.most is not None:
                return None
            length = self.counted
        if not inside:
            return _State(self._closed(state), length, b"", (), False)
        word = self._grown(state.word, byte)
        return _State(state.found, length, word, _LEADS.get(byte, ()), False)

    def _grown(self, word: bytes | None, byte: int) -> bytes | None:
        if word is None:
            return None
        longer = word + bytes([byte])
        longer = longer if self.match_case else longer.lower()
        return longer if longer in self.begun else None

    def _closed(self, state: _State) -> int:
        """What was found once the word at hand is over."""
        if state.word in self.words:
            return state.found | 1 << self.words.index(state.word)
        return state.found
