"""Heun's method with optional churn: EDM's sampler (Karras et al. 2022, algorithms 1 and 2)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

from tinygen.arguments import number
from tinygen.function import Value
from tinygen.models.diffusion.sampling.steps import Denoise, Step, checked, draws, estimate
from tinygen.random import Generator


def sample_heun(
    denoise: Denoise,
    x: Value,
    sigmas: Sequence[float],
    *,
    s_churn: float = 0.0,
    s_min: float = 0.0,
    s_max: float = math.inf,
    s_noise: float = 1.0,
    rng: Generator | None = None,
    noise: Iterable[Value] | None = None,
) -> Iterator[Step]:
    """Heun's second-order method: an Euler step, then the mean of the slopes at both ends. n steps
    take 2n - 1 evaluations, since the last, to 0, is Euler's (algorithm 1).

    With `s_churn` > 0, each step at a noise level within [s_min, s_max] first adds noise, of
    standard deviation `s_noise`, up to level (1 + gamma) sigma, gamma = min(s_churn / n,
    sqrt(2) - 1) (algorithm 2): it forgets the errors of earlier steps, and needs `rng` or `noise`,
    one array like x a churned step.

    x (N, ...) at noise level sigmas[0]; sigmas fall strictly and end in 0. Yields a `Step` (step,
    sigma, x, x0) after each of n = len(sigmas) - 1 steps.
    """
    levels = checked("sample_heun", x, sigmas)
    number("sample_heun: s_churn", s_churn, least=0)
    number("sample_heun: s_min", s_min)
    if s_max != math.inf:
        number("sample_heun: s_max", s_max, least=s_min)
    number("sample_heun: s_noise", s_noise, least=0)
    gamma = min(s_churn / (len(levels) - 1), math.sqrt(2) - 1)
    gammas = [gamma if s_min <= sigma <= s_max else 0.0 for sigma in levels[:-1]]
    fresh = draws("sample_heun", x, rng, noise) if any(gammas) else iter(())
    return _heun(denoise, x, levels, gammas, s_noise, fresh)


def _heun(
    denoise: Denoise,
    x: Value,
    sigmas: list[float],
    gammas: list[float],
    s_noise: float,
    fresh: Iterator[Value],
) -> Iterator[Step]:
    for i, (sigma, sigma_next) in enumerate(itertools.pairwise(sigmas)):
        if gammas[i] > 0:
            churned = sigma * (1 + gammas[i])
            x = x + s_noise * math.sqrt(churned**2 - sigma**2) * next(fresh)
            sigma = churned
        x0 = estimate(denoise, x, sigma)
        euler = x0 + (sigma_next / sigma) * (x - x0)
        if sigma_next > 0:
            slope = (x - x0) / sigma
            slope_next = (euler - estimate(denoise, euler, sigma_next)) / sigma_next
            x = x + (sigma_next - sigma) * 0.5 * (slope + slope_next)
        else:
            x = euler
        yield Step(i, sigma_next, x, x0)
