"""What nearest neighbours tell: do samples look like data, is all of the data reached, are samples
copies of the training set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygen.arguments import integer
from tinygen.errors import ShapeError, UsageError

ROWS = 512


@dataclass(frozen=True)
class Coverage:
    """Fidelity (precision, density) and diversity (recall, coverage); each 1 at its best."""

    precision: float
    """Part of the samples within some real example's ball."""
    recall: float
    """Part of the real examples within some sample's ball."""
    density: float
    """Real balls around a sample, over k: above 1 where samples crowd where data are dense."""
    coverage: float
    """Part of the real examples whose ball has a sample in it."""


def coverage(real: NDArray[Any], fake: NDArray[Any], k: int = 5) -> Coverage:
    """Of features real (N, D) and fake (M, D). A point's ball reaches to its k-th neighbour in its
    own set (Kynkäänniemi et al. 2019, "Improved precision and recall", eq. 1-3; Naeem et al. 2020,
    "Reliable fidelity and diversity metrics", eq. 4-5)."""
    integer("coverage: k", k, least=1)
    if min(len(real), len(fake)) <= k:
        raise UsageError(
            f"coverage: k is {k}, and there are {len(real)} real and {len(fake)} generated "
            "examples; give more than k of each."
        )
    real_radius, fake_radius = kth_distance(real, k), kth_distance(fake, k)
    in_real = np.zeros(len(fake))  # how many real balls each sample is in
    covered = np.zeros(len(real), bool)
    recalled = np.zeros(len(real), bool)
    for start in range(0, len(fake), ROWS):
        part = slice(start, start + ROWS)
        distance = distances(fake[part], real)  # (rows, N)
        inside = distance <= real_radius
        in_real[part] = inside.sum(axis=1)
        covered |= inside.any(axis=0)
        recalled |= (distance <= fake_radius[part, None]).any(axis=0)
    return Coverage(
        precision=float((in_real > 0).mean()),
        recall=float(recalled.mean()),
        density=float(in_real.mean() / k),
        coverage=float(covered.mean()),
    )


@dataclass(frozen=True)
class Memorisation:
    """Distances to the nearest training example: of samples, and of real ones held out."""

    sample_median: float
    held_out_median: float
    copies: float
    """Part of the samples that are nearer to a training example than 99 % of the held-out ones
    are. About 0.01 without memorisation."""


def memorisation(
    train: NDArray[Any], held_out: NDArray[Any], samples: NDArray[Any]
) -> Memorisation:
    """Are samples copies? All are (N, ...), compared flattened. Held-out examples say how near a
    stranger comes to the training set by chance (Meehan et al. 2020, "A non-parametric test to
    detect data-copying in generative models", section 3)."""
    if not (len(train) and len(held_out) and len(samples)):
        raise ShapeError("memorisation: one of the three sets is empty; each needs examples.")
    stranger, sample = nearest(held_out, train), nearest(samples, train)
    limit = np.quantile(stranger, 0.01)
    return Memorisation(
        sample_median=float(np.median(sample)),
        held_out_median=float(np.median(stranger)),
        copies=float((sample < limit).mean()),
    )


def nearest(x: NDArray[Any], among: NDArray[Any]) -> NDArray[np.float64]:
    """The distance (N,) of each of x (N, ...) to the nearest of `among` (M, ...)."""
    parts = [distances(x[i : i + ROWS], among).min(axis=1) for i in range(0, len(x), ROWS)]
    return np.concatenate(parts) if parts else np.zeros(0)


def kth_distance(x: NDArray[Any], k: int) -> NDArray[np.float64]:
    """The distance (N,) of each of x to its k-th nearest other one."""
    parts = [
        np.partition(distances(x[i : i + ROWS], x), k, axis=1)[:, k]  # its own 0 comes first
        for i in range(0, len(x), ROWS)
    ]
    return np.concatenate(parts)


def distances(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Euclidean distances (N, M) of a (N, ...) and b (M, ...), flattened."""
    x, y = (np.asarray(v, np.float64).reshape(len(v), -1) for v in (a, b))
    if x.shape[1] != y.shape[1]:
        raise ShapeError(f"vectors of {x.shape[1]} and of {y.shape[1]} numbers: equally many.")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise UsageError("some numbers are NaN or infinite; their distance is nothing.")
    squared = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1) - 2 * x @ y.T
    return np.sqrt(np.maximum(squared, 0))
