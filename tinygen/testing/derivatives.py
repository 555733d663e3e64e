"""Numeric directional derivatives that know their own error.

Along a direction u, the scalar phi(t) = <g, f(x + t u)> is evaluated at t = 0 and at plus and minus
h, h/2, h/4, h/8. Its odd part gives the derivative, its even part tells a kink:

    (phi(t) - phi(-t)) / 2t             = phi' + a t^2 + b t^4 + ...    extrapolated to t = 0
    (phi(t) - 2 phi(0) + phi(-t)) / t   = c t + d t^3 + ...             extrapolates to 0 where
                                                                        phi is differentiable
(Richardson). The disagreement of the extrapolations, the jump of the even part and the noise of f,
read from a difference table (Hamming; More and Wild 2011, "Estimating computational noise"), make
the error. If it is not small, h is too large for this f: the next rung of the ladder is tried.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Arrays = tuple[Array, ...]
Evaluate = Callable[[Arrays], Arrays]

UNIT = 2.0**-53
"""The unit roundoff of float64."""

RUNGS = tuple(2.0**-k for k in (6, 9, 12, 16, 20))
_HALVINGS = 0.5 ** np.arange(4)
_SAFETY = 10.0
_NOISE_STEP = 2.0**-36  # far below any rung, far above rounding
_NOISE_POINTS = 7


class Slopes(NamedTuple):
    """Derivatives along one direction, one for each cotangent."""

    value: Array
    bound: Array
    """On the error of `value`."""
    scale: Array
    """Sum of |g| |df| over the outputs: what `value` would be without cancellation."""
    trusted: Array
    """Whether the bound is small enough for the comparison to mean something."""


def flat(arrays: Arrays) -> Array:
    return np.concatenate([np.ravel(a) for a in arrays]) if arrays else np.zeros(0)


def moved(point: Arrays, direction: Arrays, t: float) -> Arrays:
    return tuple(x + t * u for x, u in zip(point, direction, strict=True))


def noise(f: Evaluate, point: Arrays, direction: Arrays, cotangents: Array) -> Array:
    """The size of the rounding noise of each <g, f>, from the differences of close values."""
    close = [flat(f(moved(point, direction, i * _NOISE_STEP))) for i in range(_NOISE_POINTS)]
    differences = np.stack(close) @ cotangents
    estimates = []
    for k in range(1, _NOISE_POINTS):
        differences = np.diff(differences, axis=0)
        if k >= 3:  # the smooth part is gone from here on
            weight = math.factorial(k) ** 2 / math.factorial(2 * k)
            estimates.append(np.sqrt(weight * np.mean(differences**2, axis=0)))
    return np.max(estimates, axis=0)


def slopes(
    f: Evaluate, point: Arrays, direction: Arrays, cotangents: Array, noises: Array
) -> Slopes:
    """d<g, f(point + t direction)>/dt at t = 0 for every column g of `cotangents` (outputs, G)."""
    centre = flat(f(point))
    weights = np.abs(cotangents)
    magnitude = np.abs(centre) @ weights
    floor = 4 * UNIT * math.sqrt(max(centre.size, 1)) * magnitude + noises
    best: Slopes | None = None
    for h in RUNGS:
        best = _merged(best, _extrapolated(f, point, direction, cotangents, centre, h, floor))
        if best.trusted.all():
            break
    assert best is not None
    # Outputs that are zero but for rounding (dq, where softmax has one key) have no scale of their
    # own to be small against; the largest output of f says what they were made of.
    largest = np.abs(centre).max(initial=0.0) * weights.sum(axis=0)
    return best._replace(trusted=best.trusted | (best.bound <= 1e-9 * largest))


def _extrapolated(
    f: Evaluate,
    point: Arrays,
    direction: Arrays,
    cotangents: Array,
    centre: Array,
    h: float,
    floor: Array,
) -> Slopes:
    steps = h * _HALVINGS
    above = np.stack([flat(f(moved(point, direction, t))) for t in steps])
    below = np.stack([flat(f(moved(point, direction, -t))) for t in steps])
    odd = (above - below) / (2 * steps[:, None])  # (4, outputs)
    even = (above - 2 * centre + below) / steps[:, None]
    slope, disagreement = _richardson(odd @ cotangents, (4, 16, 64))
    jump, _ = _richardson(even @ cotangents, (2, 8, 32))
    bound = _SAFETY * (disagreement + np.abs(jump) + 8 * floor / steps[-1])
    weights = np.abs(cotangents)
    scale = np.abs(odd[-1]) @ weights
    trusted = bound <= 1e-6 * scale + 1e-9 * (np.abs(centre) @ weights)
    return Slopes(slope, bound, scale, trusted)


def _richardson(column: Array, factors: tuple[int, ...]) -> tuple[Array, Array]:
    """The limit of a column of values at halved steps, and how far its last estimates differ."""
    previous = column
    for factor in factors:
        previous, column = column, (factor * column[1:] - column[:-1]) / (factor - 1)
    return column[0], np.abs(column[0] - previous).max(axis=0)


def _merged(old: Slopes | None, new: Slopes) -> Slopes:
    """Keep what was trusted already; of the rest, the rung that knows it best."""
    if old is None:
        return new
    keep = old.trusted | (~new.trusted & (old.bound <= new.bound))
    return Slopes(*(np.where(keep, a, b) for a, b in zip(old, new, strict=True)))
