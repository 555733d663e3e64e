"""log p(x) by importance sampling, and what is unlikely under it.

Burda et al. 2016 ("Importance weighted autoencoders"), section 5 and appendix D: with 5,000 samples
the IWAE bound is taken for the log-likelihood itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.backend import Array
from tinygen.errors import ShapeError
from tinygen.function import Value
from tinygen.models.vae.vae import VAE
from tinygen.nn.sizes import require_sizes
from tinygen.random import Generator
from tinygen.tensor import as_numpy

ROWS = 4096
"""Latents that are decoded at a time, which bounds the memory."""


@dataclass(frozen=True)
class LogLikelihood:
    """Estimates of log p(x) in nats: of each example (N,), float64, and of their mean."""

    each: Array

    @property
    def mean(self) -> float:
        return float(self.each.mean())

    @property
    def standard_error(self) -> float:
        """Of the mean, by the spread of the examples."""
        return float(self.each.std(ddof=1) / math.sqrt(len(self.each)))

    def __str__(self) -> str:
        return f"{self.mean:.2f} +- {self.standard_error:.2f} nats"


def log_likelihood(
    model: VAE,
    x: Value,
    y: Value = None,
    *,
    samples: int = 5000,
    rng: Generator,
    batch: int = 32,
) -> LogLikelihood:
    """log p(x) of each example by importance sampling from q(z | x): a lower bound in expectation.

    `batch` examples at a time, and as many of their samples as make `ROWS` latents. The sums over
    the samples are in float64.
    """
    require_sizes("log_likelihood", samples=samples, batch=batch)
    if len(x) < 2:
        raise ShapeError(f"a standard error needs two examples or more, and these are {len(x)}.")
    chunk = max(1, ROWS // batch)
    each = []
    with model.inference():
        for start in range(0, len(x), batch):
            part = slice(start, start + batch)
            labels = None if y is None else y[part]
            total: Any = -np.inf
            for done in range(0, samples, chunk):
                count = min(chunk, samples - done)
                bound = as_numpy(model.iwae(x[part], count, labels, rng=rng)).astype(np.float64)
                total = np.logaddexp(total, bound + math.log(count))
            each.append(total - math.log(samples))
    return LogLikelihood(np.concatenate(each))


def anomaly_score(
    model: VAE, x: Value, y: Value = None, *, samples: int = 1, rng: Generator
) -> Array:
    """How unlikely each example is (N,), in nats: -ELBO from one sample, -IWAE from several."""
    require_sizes("anomaly_score", samples=samples)
    with model.inference():
        if samples == 1:
            bound = model.elbo(x, y, rng=rng)
        else:
            bound = model.iwae(x, samples, y, rng=rng, chunk=max(1, ROWS // max(1, len(x))))
        return -bound.data
