"""A piece: time steps of a quarter note, each the set of pitches that sound in it.

Pitches are MIDI's, 60 is middle C. What sounds in two neighbouring steps is one held note: the data
of chorales do not say which notes are struck again. As text a step is its pitches from high to low
and a full stop, one step a line, and a blank line parts two pieces:

    72 67 64 60 .
    .               (a rest)

The high-to-low order is the only one for a chord, so that texts and pieces are one to one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tinygen.errors import InputError

Step = frozenset[int]
Piece = tuple[Step, ...]
PITCHES = 128
STEP, PIECE = PITCHES, PITCHES + 1
"""What ends a step, and a piece, among the symbols of a text."""
_SYMBOL = re.compile(r"(\d{1,3})[ \t]*|(\.)[ \t]*\n?|(\n)|(.)", re.DOTALL)
"""A pitch, the end of a step, the end of a piece, or what is none of these."""


def checked(steps: Iterable[Iterable[object]], place: str) -> Piece:
    """A piece of lists of pitches. Raises InputError, which names the place."""
    piece = []
    for number, chord in enumerate(steps):
        pitches = list(chord)
        for pitch in pitches:
            if type(pitch) is not int or not 0 <= pitch < PITCHES:
                raise InputError(
                    f"{place}, step {number}: {pitch!r} is no pitch; MIDI's are the whole numbers "
                    f"0 ... {PITCHES - 1}"
                )
        piece.append(frozenset(p for p in pitches if isinstance(p, int)))
    if not any(piece):
        raise InputError(f"{place} has no note; leave it out")
    return tuple(piece)


def as_text(piece: Piece) -> str:
    return "".join(
        "".join(f"{pitch} " for pitch in sorted(step, reverse=True)) + ".\n" for step in piece
    )


def from_text(text: str) -> list[Piece]:
    """The pieces of a text; a step without its full stop at the end is left out. InputError where
    it is no music."""
    pieces: list[Piece] = []
    steps: list[Step] = []
    chord: set[int] = set()
    for symbol in symbols(text):
        if symbol < PITCHES:
            chord.add(symbol)
        elif symbol == STEP:
            steps.append(frozenset(chord))
            chord = set()
        elif steps:
            pieces.append(tuple(steps))
            steps, chord = [], set()
    return [*pieces, tuple(steps)] if steps else pieces


def symbols(text: str) -> Iterator[int]:
    """The pitches of a text and its ends, STEP and PIECE, in order. InputError names what is no
    music, and where it stands."""
    for match in _SYMBOL.finditer(text):
        pitch, stop, end, _ = match.groups()
        if pitch and int(pitch) < PITCHES:
            yield int(pitch)
        elif stop or end:
            yield STEP if stop else PIECE
        else:
            raise InputError(
                f"{match.group()!r} at character {match.start()} is no music: a step is pitches "
                "0 ... 127 and a full stop, such as 72 67 64 60 ."
            )
