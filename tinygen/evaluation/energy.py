"""The energy distance between two sets of vectors (Székely and Rizzo 2013)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygen.errors import ShapeError
from tinygen.random import Generator


def energy_distance(x: NDArray[Any], y: NDArray[Any]) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| for x (N, ...) and y (M, ...), flattened, in the units of
    the data: 0 in expectation if both come from one distribution, and positive if not.

    The means within a set leave out the pairs of an element with itself (the unbiased estimate),
    so that small values may be slightly negative.
    """
    if min(len(x), len(y)) < 2 or math.prod(np.shape(x)[1:]) != math.prod(np.shape(y)[1:]):
        raise ShapeError(
            f"energy_distance: {np.shape(x)} and {np.shape(y)}; give two or more vectors of one "
            "length each."
        )
    a, b = (np.asarray(v, np.float64).reshape(len(v), -1) for v in (x, y))
    within = sum(_mean_distance(v, v) * len(v) / (len(v) - 1) for v in (a, b))
    return 2 * _mean_distance(a, b) - within


def gaussian_fit(x: NDArray[Any], n: int, rng: Generator) -> NDArray[Any]:
    """n draws, shaped as x (N, ...), of the normal distribution with x's mean and covariance: what
    a model that knows no more achieves. Float64."""
    flat = np.asarray(x, np.float64).reshape(len(x), -1)
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(flat, rowvar=False)))
    noise = rng.normal((n, flat.shape[1]), "float64")
    drawn = flat.mean(axis=0) + (noise * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return drawn.reshape(n, *x.shape[1:])


def _mean_distance(a: NDArray[Any], b: NDArray[Any], rows: int = 1024) -> float:
    squares = (b * b).sum(axis=1)
    total = 0.0
    for start in range(0, len(a), rows):
        part = a[start : start + rows]
        squared = (part * part).sum(axis=1)[:, None] + squares - 2 * part @ b.T
        total += float(np.sqrt(np.maximum(squared, 0)).sum())
    return total / (len(a) * len(b))
