"""What counting notes achieves, in nats a time step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tinygen.data.music.pieces import PITCHES, Piece


def independent_notes_nats(train: Sequence[Piece], held_out: Sequence[Piece]) -> float:
    """Each pitch sounds with its own frequency (c + 1) / (N + 2), whatever the others do."""
    seen, rolls = np.concatenate([_roll(p) for p in train]), [_roll(p) for p in held_out]
    p = (seen.sum(axis=0) + 1) / (len(seen) + 2)
    return _nats(rolls, [np.broadcast_to(p, roll.shape) for roll in rolls])


def previous_step_nats(train: Sequence[Piece], held_out: Sequence[Piece]) -> float:
    """Each pitch sounds as often as it did after it sounded, or did not, the step before; before
    the first step is silence."""
    before, after = (np.concatenate(part) for part in zip(*map(_pairs, train), strict=True))
    p = np.stack(  # (2, 128): after silence, after sound
        [((after & mask).sum(axis=0) + 1) / (mask.sum(axis=0) + 2) for mask in (~before, before)]
    )
    pairs = [_pairs(piece) for piece in held_out]
    return _nats([now for _, now in pairs], [np.where(was, p[1], p[0]) for was, _ in pairs])


def _nats(rolls: Sequence[NDArray[np.bool_]], chances: Sequence[NDArray[np.float64]]) -> float:
    total = sum(
        -float(np.log(np.where(roll, p, 1 - p)).sum())
        for roll, p in zip(rolls, chances, strict=True)
    )
    steps = sum(map(len, rolls))
    return total / steps if steps else math.nan


def _pairs(piece: Piece) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    roll = _roll(piece)
    return np.concatenate([np.zeros_like(roll[:1]), roll[:-1]]), roll


def _roll(piece: Piece) -> NDArray[np.bool_]:
    """(steps, 128): which pitches sound."""
    roll = np.zeros((len(piece), PITCHES), np.bool_)
    for row, step in zip(roll, piece, strict=True):
        row[list(step)] = True
    return roll
