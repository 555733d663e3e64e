"""Data of which everything is known: a mixture of isotropic Gaussians, at every noise level.

x0 ~ sum_k w_k N(m_k, s_k^2 I) and x = x0 + sigma noise, so with v_k = s_k^2 + sigma^2

    p(x)      = sum_k w_k N(x; m_k, v_k I)
    E[x0 | x] = sum_k r_k (s_k^2 x + sigma^2 m_k) / v_k,    r_k = w_k N(x; m_k, v_k I) / p(x)

In one dimension the probability flow keeps every quantile: it carries x at one noise level to the
point of the same cumulative probability at another, so its solution is known exactly too.
"""

import math
from dataclasses import dataclass

import numpy as np

from tinygen import ops


@dataclass(frozen=True)
class Mixture:
    weights: np.ndarray  # (K,)
    means: np.ndarray  # (K, D)
    stds: np.ndarray  # (K,)

    def log_density(self, x, sigma):
        """log p(x) of x (N, D) at noise level sigma, (N,)."""
        return ops.logsumexp(self._log_joint(x, sigma), axis=-1)

    def denoise(self, x, sigma):
        """E[x0 | x], (N, D); made of ops, so that it can be differentiated."""
        variance = self.stds**2 + sigma**2  # (K,)
        r = ops.softmax(self._log_joint(x, sigma), axis=-1)  # (N, K)
        of_x = ops.expand_dims(ops.matmul(r, self.stds**2 / variance), -1)  # (N, 1)
        return of_x * x + ops.matmul(r, (sigma**2 / variance)[:, None] * self.means)

    def _log_joint(self, x, sigma):
        variance = self.stds**2 + sigma**2
        d = ops.expand_dims(x, 1) - self.means  # (N, K, D)
        constant = np.log(self.weights) - x.shape[1] / 2 * np.log(2 * math.pi * variance)
        return constant - ops.sum(d * d, axis=-1) / (2 * variance)

    # ---- one dimension

    def cdf(self, x, sigma):
        """P(X <= x) for x (N, 1), (N,)."""
        z = (x - self.means[:, 0]) / np.sqrt(2 * (self.stds**2 + sigma**2))
        return (0.5 * ops.erfc(-z)) @ self.weights

    def flow(self, x, sigma, sigma_next):
        """Where the probability flow from sigma to sigma_next carries x (N, 1): by bisection."""
        p = self.cdf(x, sigma)
        reach = abs(self.means).max() + 40 * (self.stds.max() + sigma_next)
        low, high = np.full_like(x, -reach), np.full_like(x, reach)
        for _ in range(200):
            middle = (low + high) / 2
            above = (self.cdf(middle, sigma_next) > p)[:, None]
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return (low + high) / 2


GAUSSIAN = Mixture(np.array([1.0]), np.array([[0.7]]), np.array([0.6]))

THREE = Mixture(
    np.array([0.5, 0.2, 0.3]), np.array([[-1.5], [0.2], [1.4]]), np.array([0.3, 0.5, 0.4])
)

PLANE = Mixture(
    np.array([0.2, 0.3, 0.1, 0.4]),
    np.array([[1.0, 0.5], [-1.0, 0.3], [0.2, -1.2], [0.0, 0.1]]),
    np.array([0.3, 0.25, 0.4, 0.6]),
)


def last(steps):
    """The sampler's final step."""
    *_, step = steps
    return step
