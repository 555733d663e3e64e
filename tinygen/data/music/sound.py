"""Sound of a piece: a few decaying harmonics for each note, added up; 16-bit WAV."""

from __future__ import annotations

import io
import wave

import numpy as np
from numpy.typing import NDArray

from tinygen.data.music.pieces import Piece
from tinygen.files import StrPath, write_atomically

RATE = 22050
"""Samples a second."""
HARMONICS = (1.0, 0.5, 0.25, 0.12, 0.06)
RELEASE = 0.08
"""Seconds in which a note that ended fades."""


def render(piece: Piece, beats_a_minute: float = 90.0) -> NDArray[np.float64]:
    """(samples,) in [-1, 1]; a held note is one tone of f = 440 2^((pitch - 69) / 12) Hz."""
    beat = 60.0 / beats_a_minute
    sound = np.zeros(round((len(piece) * beat + RELEASE) * RATE) + 1)
    begun: dict[int, int] = {}
    for number, step in enumerate((*piece, frozenset[int]())):
        for pitch in [pitch for pitch in begun if pitch not in step]:
            first = begun.pop(pitch)
            tone = _tone(pitch, (number - first) * beat)
            start = round(first * beat * RATE)
            sound[start : start + len(tone)] += tone[: len(sound) - start]
        for pitch in step:
            begun.setdefault(pitch, number)
    loudest = float(np.abs(sound).max())
    return sound * (0.8 / loudest) if loudest else sound


def write_sound(path: StrPath, piece: Piece, beats_a_minute: float = 90.0) -> None:
    """Raises OutputError."""
    samples = np.round(render(piece, beats_a_minute) * 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    write_atomically(path, buffer.getvalue())


def _tone(pitch: int, seconds: float) -> NDArray[np.float64]:
    time = np.arange(round((seconds + RELEASE) * RATE)) / RATE
    frequency = 440.0 * 2.0 ** ((pitch - 69) / 12)
    tone = np.zeros(len(time))
    for n, strength in enumerate(HARMONICS, start=1):
        if n * frequency < RATE / 2:  # higher ones would fold back
            tone += strength * np.sin(2 * np.pi * n * frequency * time)
    attack = np.minimum(time / 0.01, 1.0)
    fade = np.clip((seconds + RELEASE - time) / RELEASE, 0.0, 1.0)
    return np.asarray(tone * attack * fade * np.exp(-time / 2.0))
