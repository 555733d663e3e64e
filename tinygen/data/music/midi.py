"""MIDI files, by way of mido: notes laid on a grid of quarter notes, and back."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from tinygen.data.music.pieces import Piece
from tinygen.data.reading import read_file
from tinygen.errors import InputError, UnavailableError
from tinygen.files import StrPath, write_atomically

DRUMS = 9
"""The channel whose pitches are drums."""
LONGEST = 1 << 20
"""Steps of a piece; more is a damaged file."""


def read_midi(path: StrPath) -> Piece:
    """The notes of a MIDI file but for drums; a note's ends go to the nearest quarter, and it
    sounds for one step at least. Raises InputError, UnavailableError."""
    mido = _mido()
    data = read_file(path)
    try:
        file = mido.MidiFile(file=io.BytesIO(data))
        notes = list(_notes(file))
    except Exception as error:  # mido raises whatever its parsing runs into
        why = str(error) or type(error).__name__
        raise InputError(f"cannot read {path}: mido finds no MIDI file in it ({why})") from error
    if not notes:
        raise InputError(f"{path} has no note; leave it out")
    last = max(stop for _, _, stop in notes)
    if last > LONGEST:
        raise InputError(f"{path} lasts {last} quarter notes, more than {LONGEST}: it is damaged")
    steps: list[set[int]] = [set() for _ in range(last)]
    for pitch, start, stop in notes:
        for step in range(start, stop):
            steps[step].add(pitch)
    return tuple(frozenset(step) for step in steps)


def write_midi(path: StrPath, piece: Piece, beats_a_minute: float = 90.0) -> None:
    """One track of held notes at that tempo. Raises OutputError, UnavailableError."""
    mido = _mido()
    file = mido.MidiFile(type=0, ticks_per_beat=480)
    track = mido.MidiTrack()
    file.tracks.append(track)
    track.append(mido.MetaMessage("set_tempo", tempo=round(60e6 / beats_a_minute)))
    waited, sounding = 0, frozenset[int]()
    for step in (*piece, frozenset[int]()):
        for kind, pitches in (("note_off", sounding - step), ("note_on", step - sounding)):
            for pitch in sorted(pitches):
                track.append(mido.Message(kind, note=pitch, velocity=64, time=waited))
                waited = 0
        waited, sounding = waited + 480, step
    track.append(mido.MetaMessage("end_of_track", time=waited - 480))  # rests at the end, too
    buffer = io.BytesIO()
    file.save(file=buffer)
    write_atomically(path, buffer.getvalue())


def _notes(file: Any) -> Iterator[tuple[int, int, int]]:
    """(pitch, first step, step after the last) of each note that ends."""
    quarter = file.ticks_per_beat
    for track in file.tracks:
        time, begun = 0, dict[tuple[int, int], int]()
        for message in track:
            time += message.time
            if message.type not in ("note_on", "note_off") or message.channel == DRUMS:
                continue
            key = message.channel, message.note
            if key in begun:  # struck again or released: either ends it
                start = round(begun.pop(key) / quarter)
                yield message.note, start, max(start + 1, round(time / quarter))
            if message.type == "note_on" and message.velocity:
                begun[key] = time


def _mido() -> Any:
    try:
        import mido
    except ImportError as error:
        raise UnavailableError(
            "MIDI files need the package mido: pip install 'tinygen[music]'"
        ) from error
    return mido
