"""Windows of music moved up or down, at random."""

from __future__ import annotations

import numpy as np

from tinygen.data.batches import Change, Windows
from tinygen.data.music.pieces import PITCHES
from tinygen.random import Generator


def transposed(most: int) -> Change:
    """Each window is moved by -most ... most semitones, as far as its pitches allow."""

    def change(windows: Windows, rng: Generator) -> Windows:  # (batch, block + 1)
        shift = rng.integers(-most, most + 1, (len(windows), 1))
        pitched = windows < PITCHES
        low = np.where(pitched, windows, PITCHES).min(axis=1, keepdims=True)
        high = np.where(pitched, windows, -1).max(axis=1, keepdims=True)
        return np.where(pitched, windows + np.clip(shift, -low, PITCHES - 1 - high), windows)

    return change
