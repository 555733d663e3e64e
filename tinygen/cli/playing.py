"""Sampled music to a file: MIDI, or sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.data.music import from_text, write_midi, write_sound
from tinygen.errors import InputError, UsageError

REST = (frozenset[int](),) * 2
"""Between two pieces."""


def write_piece(path: str, writer: Any, samples: Sequence[str]) -> None:
    """All pieces of the samples, one after the other, as .mid or .wav. Raises UsageError where the
    model writes no music, OutputError, UnavailableError."""
    if writer.tokenizer.kind != "music":
        raise UsageError(f"{path}: .mid and .wav are for models of music, and this one writes text")
    pieces = [piece for sample in samples for piece in from_text(sample)]
    if not any(map(any, pieces)):
        raise InputError("the sample has no whole time step with a note; ask for more --tokens")
    whole = tuple(step for piece in pieces for step in (*piece, *REST))[: -len(REST)]
    write = write_midi if path.lower().endswith(".mid") else write_sound
    write(path, whole)
