"""The kernel distance of two sets of features (Bińkowski et al. 2018, "Demystifying MMD GANs")."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygen.errors import ShapeError

ROWS = 1024


def kernel_distance(x: NDArray[Any], y: NDArray[Any]) -> float:
    """The unbiased squared maximum mean discrepancy of features x (N, D) and y (M, D) under the
    kernel k(a, b) = (a.b / D + 1)^3 (eq. 4 and section 5.1).

        E k(x, x') + E k(y, y') - 2 E k(x, y),     x and x' two different ones

    It needs no Gaussian and is unbiased at any number of samples, so it may be slightly negative.
    """
    a, b = (np.asarray(v, np.float64) for v in (x, y))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ShapeError(
            f"kernel_distance: features {a.shape} and {b.shape}; they are (N, D) and (M, D), two "
            "or more of each."
        )
    within = sum(
        (_kernel_sum(v, v) - (((v * v).sum(axis=1) / v.shape[1] + 1) ** 3).sum())
        / (len(v) * (len(v) - 1))
        for v in (a, b)
    )
    return float(within - 2 * _kernel_sum(a, b) / (len(a) * len(b)))


def _kernel_sum(a: NDArray[Any], b: NDArray[Any]) -> float:
    total = 0.0
    for start in range(0, len(a), ROWS):
        total += float(((a[start : start + ROWS] @ b.T / a.shape[1] + 1) ** 3).sum())
    return total
