"""DDPM: denoising diffusion in discrete time (Ho et al. 2020, "Denoising diffusion probabilistic
models").

    x0 ──add noise──▶ xt = alpha_t x0 + sigma_t noise ──network(xt, t)──▶ prediction
                                                                              │
        loss = weight_t mean (prediction - target)^2   ◀── target(x0, noise) ─┘

With Prediction.NOISE and no weights this is L_simple (eq. 14). Alternatives: x0; v (Salimans and Ho
2022, "Progressive distillation", section 4), which every noise level determines; and min-SNR
weights (Hang et al. 2023, "Efficient diffusion training via min-SNR weighting", section 3.4).

N examples, T times; the network takes (x (N, ...), t (N,), y (N,) or None) and gives x's shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen import nn, ops
from tinygen.arguments import number
from tinygen.errors import UsageError
from tinygen.function import Value
from tinygen.models.checks import require_examples
from tinygen.models.diffusion.levels import (
    Floats,
    Level,
    noise_levels,
    normal_like,
    one_each,
    per_example,
    require_batch,
)
from tinygen.models.diffusion.prediction import Prediction
from tinygen.models.diffusion.schedule import Schedule
from tinygen.random import Generator


class DDPM(nn.Module):
    """A network, a schedule, and what the network predicts.

    `loss(x0, rng=rng)` trains it. `denoise_at(xt, t)` estimates x0 at the schedule's own times, for
    `sample_ddpm` and `sample_ddim`; `denoise(x, sigma)` at any noise level, for the others. With
    `min_snr` gamma the loss weighs x0's error by min(snr, gamma), whatever is predicted.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        prediction: Prediction = Prediction.NOISE,
        *,
        min_snr: float | None = None,
    ) -> None:
        if prediction is Prediction.NOISE and schedule.alpha_bar[-1] == 0:
            raise UsageError(
                "this schedule ends in pure noise, where a prediction of the noise says nothing "
                "about the data; predict Prediction.V."
            )
        if min_snr is not None:
            number("min_snr (5 is usual)", min_snr, above=0)
        self.network, self.schedule = network, schedule
        self.prediction, self.min_snr = prediction, min_snr

    # ---- training

    def loss(
        self,
        x0: Value,
        y: Value = None,
        *,
        rng: Generator | None = None,
        t: Level = None,
        noise: Value = None,
    ) -> Any:
        """The mean over examples and elements, a scalar; x0 (N, ...).

        t (N,) integers and noise (N, ...) are drawn uniformly and normally where not given.
        """
        require_batch("loss", x0)
        require_examples(x0)
        if t is None:
            if rng is None:
                raise UsageError("loss draws times: give the generator (rng=...) or t=...")
            t = rng.integers(0, self.schedule.T, x0.shape[:1])
        noise = normal_like(x0, rng, noise, "loss")
        alpha, sigma = self.schedule.scales(t)
        xt = self.schedule.add_noise(x0, noise, t)
        target = self.prediction.target(x0, noise, alpha, sigma)
        predicted = self.network(xt, one_each(t, x0), y)
        if self.min_snr is None:
            return ops.mse_loss(predicted, target)
        return ops.mean(per_example(self.weights(t), x0) * ops.square(predicted - target))

    def weights(self, t: Level) -> Floats:
        """The factors of the squared error at times t, in the terms of what is predicted:
        min(snr, gamma) (sigma / det)^2, an error in the prediction being sigma / det in x0."""
        if self.min_snr is None:
            return np.ones(np.shape(t))
        alpha, sigma = self.schedule.scales(t)
        of_x0 = np.minimum(alpha**2 / sigma**2, self.min_snr)
        return np.asarray(of_x0 * (sigma / self.prediction.determinant(alpha, sigma)) ** 2)

    # ---- denoising

    def denoise_at(self, xt: Value, t: Level, y: Value = None) -> Any:
        """E[x0 | xt] as the network has learned it; t an integer or (N,) integers."""
        return self._x0(xt, t, y, *self.schedule.scales(t))

    def denoise(self, x: Value, sigma: Level, y: Value = None) -> Any:
        """E[x0 | x = x0 + sigma noise] for any sigma in the schedule's range: x is scaled to the
        network's xt, and the time is the fractional one of that noise level."""
        sigma = noise_levels(sigma)
        alpha = 1 / np.sqrt(1 + sigma**2)
        xt = per_example(alpha, x) * x
        return self._x0(xt, self.schedule.time_of(sigma), y, alpha, sigma * alpha)

    forward = denoise

    def _x0(self, xt: Value, t: Level, y: Value, alpha: Level, sigma: Level) -> Any:
        predicted = self.network(xt, one_each(t, xt), y)
        return self.prediction.x0(predicted, xt, alpha, sigma)
