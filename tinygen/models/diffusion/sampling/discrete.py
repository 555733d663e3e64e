"""Sampling in a schedule's own discrete time: DDPM and DDIM.

From the estimate x0 at time t one knows the noise in xt, and goes back to an earlier time s with
part of that noise and part of a fresh one (Song et al. 2021, "Denoising diffusion implicit models",
eq. 12):

    x_s = sqrt(alpha_bar_s) x0 + sqrt(1 - alpha_bar_s - std^2) noise_in_xt + std fresh
    std = eta sqrt((1 - alpha_bar_s) / (1 - alpha_bar_t)) sqrt(1 - alpha_bar_t / alpha_bar_s)

eta = 1 is the posterior q(x_s | x_t, x0), that is DDPM (Ho et al. 2020, algorithm 2 with the lower
of its two variances, and eq. 6-7); eta = 0 uses no fresh noise and is deterministic, that is DDIM.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tinygen.arguments import index, number
from tinygen.errors import UsageError
from tinygen.function import Value
from tinygen.models.diffusion.levels import require_batch
from tinygen.models.diffusion.sampling.steps import Denoise, Step, draws, estimate
from tinygen.models.diffusion.schedule import Schedule
from tinygen.random import Generator


def sample_ddim(
    denoise: Denoise,
    x: Value,
    schedule: Schedule,
    timesteps: Sequence[int],
    *,
    eta: float = 0.0,
    rng: Generator | None = None,
    noise: Iterable[Value] | None = None,
) -> Iterator[Step]:
    """DDIM: any subset of a schedule's times, eta from 0 (deterministic, order 1) to 1 (DDPM).

    denoise(xt, t) -> x0 with t a Python integer. x (N, ...) is x_t at timesteps[0]: standard normal
    numbers where that is the last time of a schedule that ends in noise. timesteps fall strictly,
    and the last step goes from timesteps[-1] to the clean data. Yields a `Step` (step, sigma, x,
    x0) after each of len(timesteps) steps, sigma being the noise level sqrt(1 / alpha_bar - 1) of
    the time that was reached.

    With eta > 0 give `rng`, or as `noise` one array like x for every step but the last.
    """
    return _sample("sample_ddim", denoise, x, schedule, timesteps, eta, rng, noise)


def sample_ddpm(
    denoise: Denoise,
    x: Value,
    schedule: Schedule,
    timesteps: Sequence[int],
    *,
    eta: float = 1.0,
    rng: Generator | None = None,
    noise: Iterable[Value] | None = None,
) -> Iterator[Step]:
    """Ancestral sampling: each step draws from q(x_s | x_t, x0) (Ho et al. 2020, algorithm 2).

    `sample_ddim` whose eta is 1 unless said otherwise; arguments and steps are the same. Weak
    order 1.
    """
    return _sample("sample_ddpm", denoise, x, schedule, timesteps, eta, rng, noise)


def _sample(
    sampler: str,
    denoise: Denoise,
    x: Value,
    schedule: Schedule,
    timesteps: Sequence[int],
    eta: float,
    rng: Generator | None,
    noise: Iterable[Value] | None,
) -> Iterator[Step]:
    require_batch(sampler, x)
    number(f"{sampler}: eta", eta, least=0, most=1)
    try:
        times = [index(t) for t in timesteps]
    except TypeError:
        times = []
    if not times:
        raise UsageError(f"{sampler}: timesteps are one or more integers, not {timesteps!r}.")
    if not times[0] < schedule.T or times[-1] < 0 or sorted(set(times), reverse=True) != times:
        raise UsageError(
            f"{sampler}: timesteps fall strictly, within {schedule.T - 1} ... 0, and these are "
            f"{times}; Schedule.timesteps makes such."
        )
    fresh = draws(sampler, x, rng, noise) if eta > 0 else iter(())
    return _steps(denoise, x, schedule, times, eta, fresh)


def _steps(
    denoise: Denoise, x: Value, schedule: Schedule, times: list[int], eta: float, fresh: Any
) -> Iterator[Step]:
    for i, (t, s) in enumerate(itertools.pairwise([*times, -1])):
        x0 = estimate(denoise, x, t)
        alpha_bar_t, alpha_bar_s = (float(schedule.alpha_bar_at(time)) for time in (t, s))
        variance = eta**2 * float(schedule.posterior_weights(t, s)[2])
        kept = math.sqrt(max(0.0, 1 - alpha_bar_s - variance))  # of the noise in x
        noise_in_x = (x - math.sqrt(alpha_bar_t) * x0) / math.sqrt(1 - alpha_bar_t)
        x = math.sqrt(alpha_bar_s) * x0 + kept * noise_in_x
        if variance > 0:
            x = x + math.sqrt(variance) * next(fresh)
        yield Step(i, math.sqrt((1 - alpha_bar_s) / alpha_bar_s), x, x0)
