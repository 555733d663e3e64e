"""EDM: a network between two skips (Karras et al. 2022, "Elucidating the design space of
diffusion-based generative models").

    x = x0 + sigma noise ──▶ c_in x ──▶ network(., c_noise) ──▶ c_out ──(+)──▶ D(x, sigma) ≈ x0
            └───────────────────────── c_skip ──────────────────────────┘

Table 1, last column, with s = sigma_data the standard deviation of the data:

    c_skip = s^2 / (sigma^2 + s^2)              c_in    = 1 / sqrt(sigma^2 + s^2)
    c_out  = sigma s / sqrt(sigma^2 + s^2)      c_noise = log(sigma) / 4

c_in gives the network inputs of variance 1, c_skip and c_out targets of variance 1 with the least
c_out (appendix B.6), and the weight lambda = 1 / c_out^2 makes every noise level count alike.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinygen import nn, ops
from tinygen.arguments import number
from tinygen.errors import UsageError
from tinygen.function import Value
from tinygen.models.checks import require_examples
from tinygen.models.diffusion.levels import (
    Level,
    noise_levels,
    normal_like,
    one_each,
    per_example,
    require_batch,
)
from tinygen.random import Generator

TIME_SCALE = 1000.0
"""Networks are given times of the order of DDPM's 0 ... 1000; c_noise is of the order of 1."""


class Preconditioning(NamedTuple):
    """The four coefficients at some noise levels, float64."""

    c_skip: Level
    c_out: Level
    c_in: Level
    c_noise: Level


class EDM(nn.Module):
    """A network as a denoiser at every noise level. `loss(x0, rng=rng)` trains it,
    `denoise(x, sigma)` serves `sample_heun` and the other samplers of `sigmas`.

    `sigma_data` is the standard deviation of the data's elements. In training log sigma is
    N(`log_mean`, `log_std`^2) (section 5; the defaults are the paper's).
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        sigma_data: float = 0.5,
        log_mean: float = -1.2,
        log_std: float = 1.2,
    ) -> None:
        self.network = network
        self.sigma_data = number("EDM: sigma_data", sigma_data, above=0)
        self.log_mean = number("EDM: log_mean", log_mean)
        self.log_std = number("EDM: log_std", log_std, least=0)

    def preconditioning(self, sigma: Level) -> Preconditioning:
        """Table 1 at noise levels sigma > 0."""
        sigma = noise_levels(sigma)
        if not np.all(sigma > 0):
            raise UsageError(f"EDM denoises at sigma > 0, and this is {sigma}.")
        s, total = self.sigma_data, sigma**2 + self.sigma_data**2
        return Preconditioning(
            c_skip=s**2 / total,
            c_out=sigma * s / np.sqrt(total),
            c_in=1 / np.sqrt(total),
            c_noise=np.log(sigma) / 4,
        )

    # ---- training

    def loss(
        self,
        x0: Value,
        y: Value = None,
        *,
        rng: Generator | None = None,
        sigma: Level = None,
        noise: Value = None,
    ) -> Any:
        """The mean over examples and elements of lambda |D(x0 + sigma noise, sigma) - x0|^2, a
        scalar (eq. 2), computed where the network works: |network - target|^2 (eq. 8).

        sigma (N,) and noise (N, ...) are drawn where not given.
        """
        require_batch("loss", x0)
        require_examples(x0)
        if sigma is None:
            if rng is None:
                raise UsageError("loss draws noise levels: give the generator (rng=...) or sigma=.")
            draw = rng.normal(x0.shape[:1], "float64")
            sigma = np.exp(self.log_mean + self.log_std * draw)
        x = x0 + per_example(sigma, x0) * normal_like(x0, rng, noise, "loss")
        c = self.preconditioning(sigma)
        target = per_example(1 / c.c_out, x) * (x0 - per_example(c.c_skip, x) * x)
        return ops.mse_loss(self._network(x, c, y), target)

    def weight(self, sigma: Level) -> Level:
        """lambda(sigma) = 1 / c_out^2 = (sigma^2 + s^2) / (sigma s)^2, the factor of D's error."""
        return 1 / self.preconditioning(sigma).c_out ** 2

    # ---- denoising

    def denoise(self, x: Value, sigma: Level, y: Value = None) -> Any:
        """D(x, sigma) = c_skip x + c_out network(c_in x, c_noise) (eq. 7); sigma a number or
        (N,)."""
        c = self.preconditioning(sigma)
        return per_example(c.c_skip, x) * x + per_example(c.c_out, x) * self._network(x, c, y)

    forward = denoise

    def _network(self, x: Value, c: Preconditioning, y: Value) -> Any:
        return self.network(per_example(c.c_in, x) * x, one_each(TIME_SCALE * c.c_noise, x), y)
