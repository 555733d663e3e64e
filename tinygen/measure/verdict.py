"""FASTER, SLOWER, SAME or UNDECIDED: what interleaved samples allow to be said.

Rounds are pairs: the logarithm of ours over theirs in a round is free of what disturbed both. Its
median over rounds is the effect, and a bootstrap that draws rounds (Efron 1979) gives its interval.
The same between two runs of identical code (A/A) says what this run can see: an effect below the
spread of A/A was not seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.999
"""Of an interval; with it a hundred verdicts together are wrong less than once in ten."""
FLOOR = 0.02
"""Processes of the same code may differ by where their memory lies: so much is never a verdict."""
SAME_WITHIN = 0.05
RESAMPLES = 5000


@dataclass(frozen=True)
class Ratio:
    """Ours over theirs: the median over rounds and its interval; below 1 ours is faster."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """How far from 1 the interval reaches, as a logarithm."""
        return max(abs(math.log(self.low)), abs(math.log(self.high)))


def ratio(ours: Sequence[float], theirs: Sequence[float], seed: int = 0) -> Ratio:
    """The paired bootstrap of two contenders' samples, round by round.

    Raises ValueError where they are not as many, fewer than five, or not positive numbers.
    """
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if a.shape != b.shape or a.ndim != 1 or a.size < 5:
        raise ValueError(f"paired samples need five rounds each or more, not {a.size} and {b.size}")
    if not ((a > 0) & (b > 0) & np.isfinite(a) & np.isfinite(b)).all():
        raise ValueError("samples must be positive seconds")
    effects = np.log(a / b)
    drawn = np.random.default_rng(seed).integers(0, a.size, (RESAMPLES, a.size))
    medians = np.median(effects[drawn], axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(medians, [tail, 1 - tail])
    return Ratio(*(float(np.exp(x)) for x in (np.median(effects), low, high)))


def verdict(effect: Ratio, same: Ratio) -> str:
    """What `effect` says where `same` is the A/A ratio of its run.

    FASTER and SLOWER need the whole interval beyond 2 %, and an effect larger than the spread of
    A/A; SAME needs both intervals within 5 %. Everything else is UNDECIDED: more rounds may decide.
    """
    seen = abs(math.log(effect.median)) > same.spread
    if seen and math.log(effect.high) < -FLOOR:
        return "FASTER"
    if seen and math.log(effect.low) > FLOOR:
        return "SLOWER"
    if max(effect.spread, same.spread) < SAME_WITHIN:
        return "SAME"
    return "UNDECIDED"
