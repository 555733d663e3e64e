"""The Fréchet distance of two sets of features, each taken for a Gaussian (Heusel et al. 2017,
"GANs trained by a two time-scale update rule", eq. 6)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygen.errors import ShapeError, UsageError

Floats = NDArray[np.float64]


def frechet_distance(x: NDArray[Any], y: NDArray[Any]) -> float:
    """|m_x - m_y|^2 + tr(C_x + C_y - 2 (C_x C_y)^(1/2)) for features x (N, D) and y (M, D): the
    squared 2-Wasserstein distance of the two Gaussians; 0 if means and covariances agree.

    The trace of the root is that of the symmetric C_x^(1/2) C_y C_x^(1/2), whose eigenvalues are
    real and not negative, so that features that never vary (dead units) do no harm.
    """
    (mean_x, cov_x), (mean_y, cov_y) = gaussian(x), gaussian(y)
    if mean_x.shape != mean_y.shape:
        raise ShapeError(
            f"frechet_distance: features of {mean_x.size} and {mean_y.size} dimensions; they must "
            "be of one network."
        )
    values, vectors = np.linalg.eigh(cov_x)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_y @ root), 0)).sum()
    gap = mean_x - mean_y
    return float(max(0.0, gap @ gap + np.trace(cov_x) + np.trace(cov_y) - 2 * cross))


def gaussian(x: NDArray[Any]) -> tuple[Floats, Floats]:
    """Mean (D,) and unbiased covariance (D, D) of features (N, D), float64."""
    wide = np.asarray(x, np.float64)
    if wide.ndim != 2 or len(wide) < 2:
        raise ShapeError(f"features of shape {wide.shape}: (N, D) with two or more is needed.")
    if not np.isfinite(wide).all():
        raise UsageError("some features are NaN or infinite; the samples are no good.")
    return wide.mean(axis=0), np.atleast_2d(np.cov(wide, rowvar=False))
