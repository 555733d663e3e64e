"""DPM-Solver++(2M): a multistep method in the logarithm of the noise level (Lu et al. 2022,
"DPM-Solver++: fast solver for guided sampling of diffusion probabilistic models", algorithm 2)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from tinygen.function import Value
from tinygen.models.diffusion.sampling.steps import Denoise, Step, checked, estimate
from tinygen.random import Generator


def sample_dpmpp_2m(
    denoise: Denoise, x: Value, sigmas: Sequence[float], *, rng: Generator | None = None
) -> Iterator[Step]:
    """Order 2 with one evaluation a step: the estimate of x0 is extrapolated from the last two.

    With lambda = -log sigma and h = lambda_next - lambda, the flow is solved exactly for constant
    x0 (proposition 4.1), and x0 is taken at the middle of the step, on the line through this
    estimate and the one before:

        x_next = (sigma_next / sigma) x - expm1(-h) mid
        mid    = x0 + (x0 - x0_before) h / (2 h_before)

    The first step has no estimate before it, and the last, to sigma = 0, an h without bound; both
    are Euler's. x (N, ...) at noise level sigmas[0]; sigmas fall strictly and end in 0. Yields a
    `Step` (step, sigma, x, x0) after each of len(sigmas) - 1 steps. `rng` is not
    used.
    """
    return _dpmpp_2m(denoise, x, checked("sample_dpmpp_2m", x, sigmas))


def _dpmpp_2m(denoise: Denoise, x: Value, sigmas: list[float]) -> Iterator[Step]:
    before, h_before = None, 0.0
    for i, (sigma, sigma_next) in enumerate(itertools.pairwise(sigmas)):
        x0 = estimate(denoise, x, sigma)
        ratio = sigma_next / sigma  # exp(-h)
        mid = x0
        if sigma_next > 0:
            h = -math.log(ratio)
            if before is not None:
                mid = x0 + (h / (2 * h_before)) * (x0 - before)
            before, h_before = x0, h
        x = mid + ratio * (x - mid)
        yield Step(i, sigma_next, x, x0)
