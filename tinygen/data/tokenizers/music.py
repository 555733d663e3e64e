"""Tokens of music: 128 pitches, the end of a step, the end of a piece (see data/music/pieces.py).

The tokens of a step, its pitches from high to low and its end, are one to one with its chord; so
the product of their probabilities is one of the chord, and their nats are the step's. What a model
gives to other orders is lost to it: the figure is an upper bound of its nats.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from tinygen.data.music.pieces import PITCHES, symbols
from tinygen.data.tokenizers.base import Ids, State, Tokenizer, require_text

_TEXTS = [*(f"{pitch} ".encode() for pitch in range(PITCHES)), b".\n", b"\n"]


class MusicTokenizer(Tokenizer):
    """Ids 0 ... 127 are pitches; the text of a token is that of `as_text`."""

    kind = "music"

    @property
    def vocab_size(self) -> int:
        return PITCHES + 2

    def encode(self, text: str | bytes) -> Ids:
        """InputError names what is no music, and where it stands."""
        require_text(text)
        whole = text if isinstance(text, str) else text.decode("utf-8", "replace")
        return np.fromiter(symbols(whole), np.uint8)

    def decode_bytes(self, ids: ArrayLike) -> bytes:
        return b"".join(_TEXTS[i] for i in self.checked(ids).tolist())

    @property
    def state(self) -> State:
        return {"kind": self.kind}

    @classmethod
    def from_state(cls, state: State) -> Self:
        return cls()
