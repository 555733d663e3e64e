"""Gaussian mixtures: density, score and ideal denoiser in closed form at every noise level.

    p(x0) = sum_k w_k N(x0; mu_k, S_k)

Diffusion adds noise, xt = a x0 + s n with n ~ N(0, I), and a mixture stays a mixture:

    p(xt)       = sum_k w_k N(xt; a mu_k, C_k),          C_k = a^2 S_k + s^2 I
    r_k(xt)     = w_k N(xt; a mu_k, C_k) / p(xt)                                 (responsibilities)
    score(xt)   = sum_k r_k C_k^-1 (a mu_k - xt)                             (gradient of log p(xt))
    E[x0 | xt]  = sum_k r_k (mu_k + a S_k C_k^-1 (xt - a mu_k))               (the ideal denoiser)

so that a sampler can be tested with the exact network in place of a trained one. Each S_k is kept
as its eigenvalues and eigenvectors: C_k has the same eigenvectors at every noise level, and nothing
is inverted. An eigenvalue may be zero (with point masses, a mixture is a finite data set) as long
as there is noise: s > 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygen.errors import OutOfRangeError, ShapeError, UsageError
from tinygen.random import Generator

Floats = NDArray[np.float64]

_ELEMENTS = 1 << 21  # of the largest array (n, K, D) that is made at once


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """K components in D dimensions; make one with `isotropic` or `full`.

    means (K, D), weights (K,) that sum to 1, variances (K, D), axes (K, D, D) or None. Without axes
    `variances` belong to the coordinates; with them variances[k, i] belongs to the unit vector
    axes[k, :, i]. All float64, read-only.
    """

    means: Floats
    variances: Floats
    weights: Floats
    axes: Floats | None = None

    @staticmethod
    def isotropic(
        means: ArrayLike, std: ArrayLike, weights: ArrayLike | None = None
    ) -> GaussianMixture:
        """Round components: means (K, D), std one number or (K,), weights (K,) or all equal."""
        centres = np.array(means, np.float64)
        if centres.ndim != 2 or 0 in centres.shape:
            raise ShapeError(f"means of shape {centres.shape}: (K, D) is needed, none of them 0")
        scale = np.asarray(std, np.float64)
        if scale.shape not in ((), centres.shape[:1]):
            raise ShapeError(f"std of shape {scale.shape}: one number or {centres.shape[:1]}")
        if not (np.isfinite(scale).all() and (scale >= 0).all()):
            raise UsageError(f"std {scale}: it must be finite and at least 0")
        variances = np.broadcast_to((scale * scale).reshape(-1, 1), centres.shape)
        return GaussianMixture(
            _fixed(centres), _fixed(variances), _normalised(weights, len(centres))
        )

    @staticmethod
    def full(
        means: ArrayLike, covariances: ArrayLike, weights: ArrayLike | None = None
    ) -> GaussianMixture:
        """Components of any shape: means (K, D), symmetric covariances (K, D, D)."""
        centres, matrices = np.array(means, np.float64), np.array(covariances, np.float64)
        if centres.ndim != 2 or 0 in centres.shape:
            raise ShapeError(f"means of shape {centres.shape}: (K, D) is needed, none of them 0")
        if matrices.shape != (*centres.shape, centres.shape[1]):
            raise ShapeError(
                f"covariances of shape {matrices.shape} for means of {centres.shape}: (K, D, D)"
            )
        scale = float(np.abs(matrices).max())
        if not np.abs(matrices - matrices.swapaxes(1, 2)).max() <= 1e-12 * scale:
            raise UsageError("a covariance that is not symmetric (or not finite)")
        variances, axes = np.linalg.eigh(matrices)
        if variances.min() < -1e-12 * scale:
            raise UsageError(f"a covariance with the negative eigenvalue {variances.min():.3g}")
        return GaussianMixture(
            _fixed(centres),
            _fixed(np.maximum(variances, 0)),
            _normalised(weights, len(centres)),
            _fixed(axes),
        )

    # ---- what it is

    @property
    def dim(self) -> int:
        return self.means.shape[1]

    @property
    def mean(self) -> Floats:
        """(D,), of the whole mixture."""
        return self.weights @ self.means

    @property
    def covariance(self) -> Floats:
        """(D, D), of the whole mixture: within the components plus between their means."""
        centred = self.means - self.mean
        between = (self.weights[:, None] * centred).T @ centred
        if self.axes is None:
            return between + np.diag(self.weights @ self.variances)
        scaled = self.axes * (self.weights[:, None] * self.variances)[:, None, :]
        return between + (scaled @ self.axes.swapaxes(1, 2)).sum(0)

    def components(self, chosen: ArrayLike) -> GaussianMixture:
        """The mixture of some components alone, their weights scaled to sum to 1.

        With components as classes this is p(x | the class is among them): the truth for
        conditional sampling and guidance.
        """
        k = np.atleast_1d(np.asarray(chosen))
        if k.dtype.kind not in "iu" or k.ndim != 1 or not k.size:
            raise UsageError(f"components {chosen!r}: one or more component numbers are needed")
        if k.min() < 0 or k.max() >= len(self.means):
            raise OutOfRangeError(f"components {chosen!r} of a mixture of {len(self.means)}")
        return GaussianMixture(
            _fixed(self.means[k]),
            _fixed(self.variances[k]),
            _normalised(self.weights[k], len(k)),
            None if self.axes is None else _fixed(self.axes[k]),
        )

    def diffused(self, scale: float, noise_std: float) -> GaussianMixture:
        """The distribution of scale x0 + noise_std n, n ~ N(0, I)."""
        return GaussianMixture(
            _fixed(scale * self.means),
            _fixed(scale**2 * self.variances + noise_std**2),
            self.weights,
            self.axes,
        )

    # ---- drawing

    def sample(self, n: int, rng: Generator, dtype: Any = "float32") -> NDArray[Any]:
        """(n, D) independent draws."""
        return self.sample_labelled(n, rng, dtype)[0]

    def sample_labelled(
        self, n: int, rng: Generator, dtype: Any = "float32"
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """(n, D) draws, and the component (n,) int64 that each came from."""
        edges = np.cumsum(self.weights)[:-1]
        k = np.searchsorted(edges, rng.uniform(n, dtype="float64"), side="right")  # (n,)
        x = np.sqrt(self.variances[k]) * rng.normal((n, self.dim), dtype="float64")  # (n, D)
        if self.axes is not None:
            x = (self.axes[k] @ x[:, :, None])[:, :, 0]
        return (self.means[k] + x).astype(dtype), np.asarray(k, np.int64)

    # ---- densities. `scale` and `noise_std` are numbers, or (n,): one for each point.

    def log_density(
        self, x: ArrayLike, *, scale: ArrayLike = 1.0, noise_std: ArrayLike = 0.0
    ) -> Floats:
        """log p (n,) in nats of points x (n, D) under scale x0 + noise_std n."""
        return self._by_rows(x, scale, noise_std, lambda logs, *_: _log_sum_exp(logs))

    def responsibilities(
        self, x: ArrayLike, *, scale: ArrayLike = 1.0, noise_std: ArrayLike = 0.0
    ) -> Floats:
        """(n, K): the probability that a point came from each component."""
        return self._by_rows(x, scale, noise_std, lambda logs, *_: _softmax(logs))

    def score(self, x: ArrayLike, *, scale: ArrayLike = 1.0, noise_std: ArrayLike = 0.0) -> Floats:
        """The gradient (n, D) of `log_density` by x."""

        def of_rows(logs: Floats, whitened: Floats, *_: Floats) -> Floats:
            return -self._mean_over_components(_softmax(logs), whitened)

        return self._by_rows(x, scale, noise_std, of_rows)

    def denoise(
        self, x: ArrayLike, *, scale: ArrayLike = 1.0, noise_std: ArrayLike = 0.0
    ) -> Floats:
        """E[x0 | scale x0 + noise_std n = x], (n, D): the least-squares denoiser."""

        def of_rows(logs: Floats, whitened: Floats, a: Floats) -> Floats:
            r = _softmax(logs)
            step = a * self.variances * whitened  # (n, K, D)
            return r @ self.means + self._mean_over_components(r, step)

        return self._by_rows(x, scale, noise_std, of_rows)

    def _mean_over_components(self, r: Floats, u: Floats) -> Floats:
        """sum_k r_k axes_k u_k: (n, K) and (n, K, D) to (n, D)."""
        if self.axes is not None:
            u = (self.axes @ u[..., None])[..., 0]
        mean: Floats = (r[:, None, :] @ u)[:, 0]
        return mean

    def _by_rows(self, x: ArrayLike, scale: ArrayLike, noise_std: ArrayLike, of_rows: Any) -> Any:
        """of_rows(log w_k N_k (n, K), C_k^-1 (x - a mu_k) in the axes (n, K, D), a (n, 1, 1))."""
        points = np.asarray(x, np.float64)
        if points.ndim != 2 or points.shape[1] != self.dim:
            raise ShapeError(f"points of shape {points.shape}: (n, {self.dim}) is needed")
        n, (k, d) = len(points), self.means.shape
        a, s = (_per_point(value, n) for value in (scale, noise_std))  # (n,), or (1,): for all
        least = (a * a)[:, None] * self.variances.min() + (s * s)[:, None]
        if not (least > 0).all():
            raise UsageError(
                "a density of zero width has no finite value; give std > 0 or noise_std > 0"
            )
        with np.errstate(divide="ignore"):
            log_weights = np.log(self.weights)  # -inf for a component of weight 0
        rows = max(1, _ELEMENTS // (k * d))
        parts = []
        for first in range(0, max(n, 1), rows):  # one empty part for n = 0
            part = slice(first, first + rows)
            a_rows, s_rows = (v[part if len(v) > 1 else slice(1), None, None] for v in (a, s))
            u = points[part, None] - a_rows * self.means  # (rows, K, D)
            if self.axes is not None:
                u = (u[:, :, None] @ self.axes)[:, :, 0]
            c = a_rows * a_rows * self.variances + s_rows * s_rows  # (rows or 1, K, D)
            whitened = u / c
            log_scales = log_weights - 0.5 * np.log(2 * math.pi * c).sum(2)
            logs = log_scales - 0.5 * (u * whitened).sum(2)
            parts.append(of_rows(logs, whitened, a_rows))
        return np.concatenate(parts)


def _log_sum_exp(logs: Floats) -> Floats:
    top = logs.max(1, keepdims=True)
    total: Floats = top[:, 0] + np.log(np.exp(logs - top).sum(1))
    return total


def _softmax(logs: Floats) -> Floats:
    p: Floats = np.exp(logs - logs.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return p


def _per_point(value: ArrayLike, n: int) -> Floats:
    array = np.asarray(value, np.float64)
    if array.shape not in ((), (n,)):
        raise ShapeError(f"a scale or noise_std of shape {array.shape}: one number or ({n},)")
    return array.reshape(-1)


def _normalised(weights: ArrayLike | None, k: int) -> Floats:
    w = np.ones(k) if weights is None else np.array(weights, np.float64)
    if w.shape != (k,):
        raise ShapeError(f"weights of shape {w.shape} for {k} components")
    if not (np.isfinite(w).all() and (w >= 0).all() and w.sum() > 0):
        raise UsageError("weights must be finite, at least 0, and not all 0")
    return _fixed(w / w.sum())


def _fixed(array: Floats) -> Floats:
    """A read-only copy."""
    copy = np.array(array, np.float64)
    copy.flags.writeable = False
    return copy
