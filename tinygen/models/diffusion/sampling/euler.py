"""Euler steps along the probability flow, without and with fresh noise.

At noise level sigma the data x0 are hidden in x = x0 + sigma noise. The probability flow

    dx/dsigma = (x - denoise(x, sigma)) / sigma        (Karras et al. 2022, eq. 1 and 3)

has at every sigma the same distribution as that; following it from a large sigma to 0 turns noise
into data.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

from tinygen.arguments import number
from tinygen.function import Value
from tinygen.models.diffusion.sampling.steps import Denoise, Step, checked, draws, estimate
from tinygen.random import Generator


def sample_euler(
    denoise: Denoise, x: Value, sigmas: Sequence[float], *, rng: Generator | None = None
) -> Iterator[Step]:
    """Euler's method (Karras et al. 2022, algorithm 1 without lines 6-8): order 1, one evaluation a
    step. In DDPM's coordinates it is `sample_ddim` with eta = 0, step by step.

    x (N, ...) at noise level sigmas[0]: sigmas[0] times standard normal numbers. sigmas fall
    strictly and end in 0. Yields a `Step` (step, sigma, x, x0) after each of len(sigmas) - 1 steps.
    Deterministic: `rng` is taken, as by every sampler, and not used.
    """
    return _euler(denoise, x, checked("sample_euler", x, sigmas))


def _euler(denoise: Denoise, x: Value, sigmas: list[float]) -> Iterator[Step]:
    for i, (sigma, sigma_next) in enumerate(itertools.pairwise(sigmas)):
        x0 = estimate(denoise, x, sigma)
        # x + (sigma_next - sigma) (x - x0) / sigma, written so that the last step is exactly x0
        x = x0 + (sigma_next / sigma) * (x - x0)
        yield Step(i, sigma_next, x, x0)


def sample_euler_ancestral(
    denoise: Denoise,
    x: Value,
    sigmas: Sequence[float],
    *,
    eta: float = 1.0,
    rng: Generator | None = None,
    noise: Iterable[Value] | None = None,
) -> Iterator[Step]:
    """Each step goes down to sigma_down by Euler and up again to sigma_next with fresh noise:

        up^2 = eta^2 sigma_next^2 (1 - sigma_next^2 / sigma^2),    down^2 = sigma_next^2 - up^2

    eta = 1 draws from q(x_next | x, x0), DDPM's ancestral sampling (Ho et al. 2020, algorithm 2) in
    the coordinates of sigma; eta = 0 is `sample_euler` (Song et al. 2021, "DDIM", eq. 16). Weak
    order 1. Arguments as in `sample_euler`; `noise`, if given, has one array like x for every step
    but the last, which adds none.
    """
    number("sample_euler_ancestral: eta", eta, least=0, most=1)
    levels = checked("sample_euler_ancestral", x, sigmas)
    fresh = draws("sample_euler_ancestral", x, rng, noise) if eta > 0 else iter(())
    return _euler_ancestral(denoise, x, levels, eta, fresh)


def _euler_ancestral(
    denoise: Denoise, x: Value, sigmas: list[float], eta: float, fresh: Iterator[Value]
) -> Iterator[Step]:
    for i, (sigma, sigma_next) in enumerate(itertools.pairwise(sigmas)):
        x0 = estimate(denoise, x, sigma)
        down, up = split_noise(sigma, sigma_next, eta)
        x = x0 + (down / sigma) * (x - x0)
        if up > 0:
            x = x + up * next(fresh)
        yield Step(i, sigma_next, x, x0)


def split_noise(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """(down, up) with down^2 + up^2 = sigma_next^2: what is kept of the old noise, and the fresh
    noise of an ancestral step. down is sigma_next^2 / sigma where eta is 1."""
    ratio = sigma_next / sigma
    up = eta * sigma_next * math.sqrt(1 - ratio**2)
    return sigma_next * math.sqrt(1 - (eta**2) * (1 - ratio**2)), up
