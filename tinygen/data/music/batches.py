"""Windows of music to train on, transposed at random."""

from __future__ import annotations

import numpy as np

from tinygen.data.batches import Batch, TokenBatches, Tokens
from tinygen.data.music.pieces import PITCHES
from tinygen.random import Generator


class TransposedBatches(TokenBatches):
    """Random windows, each moved by -most ... most semitones, as far as its pitches allow."""

    def __init__(
        self,
        tokens: Tokens,
        block: int,
        batch: int,
        rng: Generator,
        most: int,
        starts: Tokens | None = None,
    ) -> None:
        super().__init__(tokens, block, batch, rng, starts)
        self.most = most

    def __next__(self) -> Batch:
        x, y = super().__next__()
        shift = self.rng.integers(-self.most, self.most + 1, (self.batch, 1))
        both = np.concatenate([x, y], axis=1)
        pitched = both < PITCHES
        low = np.where(pitched, both, PITCHES).min(axis=1, keepdims=True)
        high = np.where(pitched, both, -1).max(axis=1, keepdims=True)
        shift = np.clip(shift, -low, PITCHES - 1 - high)
        return np.where(x < PITCHES, x + shift, x), np.where(y < PITCHES, y + shift, y)
