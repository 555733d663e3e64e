"""What the recipes of text do when the text is music: nats a time step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.data.music import (
    Chorales,
    Piece,
    as_text,
    independent_notes_nats,
    previous_step_nats,
)
from tinygen.data.tokenizers import MusicTokenizer
from tinygen.decoding.rows import log_softmax
from tinygen.models.transformer.decoder import Decoder
from tinygen.recipes.devices import placed


def nats_a_step(model: Decoder, pieces: Sequence[Piece], block: int, device: str) -> float:
    """-log p of whole pieces, their ends included, over the number of all their time steps: an
    upper bound, since orders of a chord that no text has are not left out of the model's sums.

    A piece longer than the model sees is read in windows that overlap by half, and each token
    counts in the first window that has it as target.
    """
    total, tokenizer = 0.0, MusicTokenizer()
    stride = max(1, block // 2)
    with model.inference():
        for piece in pieces:
            tokens = tokenizer.encode("\n" + as_text(piece) + "\n").astype(np.int64)
            done = 0  # targets that counted
            while done < len(tokens) - 1:
                start = 0 if done == 0 else done - (block - stride)
                x, y = tokens[start : start + block], tokens[start + 1 : start + block + 1]
                x = x[: len(y)]
                logits = model(*placed((x[None],), device)).numpy()[0]
                log_p = log_softmax(logits.astype(np.float64))
                fresh = slice(done - start, None)
                total -= float(log_p[np.arange(len(y)), y][fresh].sum())
                done = start + len(y)
    return total / sum(map(len, pieces))


def measured(model: Decoder, music: Chorales, block: int, device: str) -> dict[str, Any]:
    """Nats a step of the test pieces, or of the validation ones where there is no test; and what
    counting notes achieves there."""
    name, pieces = ("test", music.test) if music.test else ("val", music.validation)
    return {
        f"{name}_nats_a_step": nats_a_step(model, pieces, block, device),
        "previous_step_nats": previous_step_nats(music.train, pieces),
        "independent_notes_nats": independent_notes_nats(music.train, pieces),
        "steps": sum(map(len, pieces)),
    }


def transposed_text(pieces: Sequence[Piece], most: int) -> bytes:
    """All that training can have shown of these pieces, one transposition after the other."""
    texts = []
    for shift in range(-most, most + 1):
        for piece in pieces:
            moved = (frozenset(p + shift for p in step) for step in piece)
            texts.append(as_text(tuple(moved)))
    return "\n".join(texts).encode()
