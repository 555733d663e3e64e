"""Flow matching: learn the velocity of straight paths from data to noise (Lipman et al. 2023, "Flow
matching for generative modeling"; Liu et al. 2023, "Flow straight and fast", rectified flow).

    t = 0                        t                            t = 1
    x0 ─────────── xt = (1 - t) x0 + t noise ──────────────── noise        dxt/dt = noise - x0

The network predicts that velocity from (xt, t); its mean over all paths through xt is the velocity
of a flow that carries noise to data. Since x0 = xt - t velocity, the flow is dx/dt = (x - x0) / t:
the same equation that `sample_euler`, `sample_heun` and `sample_dpmpp_2m` solve, so they take
`denoise_at` and times from 1 to 0 in place of noise levels.

Time runs as in Esser et al. 2024 ("Scaling rectified flow transformers"): 0 is data, 1 is noise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen import nn, ops
from tinygen.arguments import integer, number
from tinygen.errors import UsageError
from tinygen.function import Value
from tinygen.models.checks import require_examples
from tinygen.models.diffusion.coupling import couple
from tinygen.models.diffusion.levels import (
    Level,
    as_floats,
    noise_levels,
    normal_like,
    one_each,
    per_example,
    require_batch,
)
from tinygen.models.diffusion.prediction import Prediction
from tinygen.random import Generator

TIME_SCALE = 1000.0
"""Networks are given times of the order of DDPM's 0 ... 1000, and t lies in 0 ... 1."""


class Flow(nn.Module):
    """A network as the velocity of a flow. `loss(x0, rng=rng)` trains it; `denoise_at(xt, t)` works
    in the flow's own time, `denoise(x, sigma)` at noise levels sigma = t / (1 - t).

    `logit_normal` (m, s) draws t = sigmoid(m + s normal), which dwells on the middle times (Esser
    et al. 2024, section 3.1, with m = 0 and s = 1); None draws t uniformly. `optimal_transport`
    pairs data and noise of a batch at the least total squared distance, which straightens the paths
    (Pooladian et al. 2023; Tong et al. 2024, "OT-CFM").
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        logit_normal: tuple[float, float] | None = None,
        optimal_transport: bool = False,
    ) -> None:
        if logit_normal is not None:
            mean, std = logit_normal
            number("the mean of logit_normal", mean)
            number("the standard deviation of logit_normal", std, above=0)
        self.network = network
        self.logit_normal, self.optimal_transport = logit_normal, optimal_transport

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
        """The mean over examples and elements of |network(xt, t) - (noise - x0)|^2, a scalar.

        t (N,) in [0, 1] and noise (N, ...) are drawn where not given.
        """
        require_batch("loss", x0)
        require_examples(x0)
        t = self._drawn_times(len(x0), rng) if t is None else _times(t)
        noise = normal_like(x0, rng, noise, "loss")
        if self.optimal_transport:
            noise = couple(x0, noise)
        xt = per_example(1 - t, x0) * x0 + per_example(t, x0) * noise
        return ops.mse_loss(self._velocity(xt, t, y), noise - x0)

    def _drawn_times(self, n: int, rng: Generator | None) -> Level:
        if rng is None:
            raise UsageError("loss draws times: give the generator (rng=...) or t=...")
        if self.logit_normal is None:
            return rng.uniform((n,), dtype="float64")
        mean, std = self.logit_normal
        return 1 / (1 + np.exp(-(mean + std * rng.normal((n,), "float64"))))

    # ---- denoising

    def denoise_at(self, xt: Value, t: Level, y: Value = None) -> Any:
        """E[x0 | xt] = xt - t velocity; t a number or (N,), in [0, 1]."""
        t = _times(t)
        velocity = self._velocity(xt, t, y)
        return Prediction.FLOW.x0(velocity, xt, 1 - t, t)

    def denoise(self, x: Value, sigma: Level, y: Value = None) -> Any:
        """E[x0 | x = x0 + sigma noise]: x is (1 + sigma) xt at t = sigma / (1 + sigma)."""
        sigma = noise_levels(sigma)
        return self.denoise_at(per_example(1 / (1 + sigma), x) * x, sigma / (1 + sigma), y)

    forward = denoise

    def _velocity(self, xt: Value, t: Level, y: Value) -> Any:
        return self.network(xt, one_each(TIME_SCALE * t, xt), y)


def _times(t: Level) -> Level:
    """t as float64, () or (N,); UsageError unless it lies in [0, 1]."""
    times = as_floats(t)
    if not np.all((times >= 0) & (times <= 1)):
        raise UsageError(f"the times of a flow lie in [0, 1], and these are {t}.")
    return times


def flow_times(n: int, *, shift: float = 1.0) -> list[float]:
    """n + 1 times from 1 to 0, evenly spaced and then shifted to s t / (1 + (s - 1) t), which
    multiplies t / (1 - t) by s: a shift above 1 spends more steps near the noise, as large images
    need (Esser et al. 2024, eq. 23)."""
    integer("flow_times: n", n, least=1)
    number("flow_times: shift", shift, above=0)
    even = (i / n for i in range(n, -1, -1))
    return [t / (t + (1 - t) / shift) for t in even]  # exactly 1 and 0 at the ends
