"""Samplers reach the known distribution at the stated order.

Deterministic samplers follow the probability flow of a one-dimensional mixture, whose solution is
known exactly (`mixture.Mixture.flow`). Samplers with fresh noise are linear in it when the data are
Gaussian, so that the mean and variance of what they make are computed exactly, not estimated.
"""

import itertools
import math

import numpy as np
import pytest
from mixture import GAUSSIAN, THREE, last
from samplers import BY_SIGMA, DETERMINISTIC

import tinygen as tg
from tinygen.models.diffusion import (
    Schedule,
    karras_sigmas,
    sample_ddim,
    sample_ddpm,
    sample_euler_ancestral,
    sample_heun,
)

HIGH, LOW = 5.0, 0.05
GRID = np.linspace(-8, 8, 41)[:, None]  # starting points, (41, 1)
COUNTS = [16, 32, 64, 128, 256]


def generator(seed=0):
    return tg.random.Generator(seed)


def slope(errors, counts):
    """The order: minus the slope of log error against log count, by the last doublings."""
    return -np.polyfit(np.log(counts[-4:]), np.log(errors[-4:]), 1)[0]


@pytest.mark.parametrize(("sampler", "order"), DETERMINISTIC.values(), ids=DETERMINISTIC)
def test_the_flow_of_a_mixture_is_followed_at_the_stated_order(sampler, order):
    """Between two noise levels, steps even in log sigma."""
    truth = THREE.flow(GRID, HIGH, LOW)
    errors = []
    for n in COUNTS:
        steps = sampler(THREE.denoise, GRID, [*np.geomspace(HIGH, LOW, n + 1), 0.0])
        errors.append(abs(list(steps)[n - 1].x - truth).max())
    assert order - 0.1 <= slope(errors, COUNTS) <= order + 0.2
    assert errors[-1] <= {1: 2e-2, 2: 1e-4}[order]


@pytest.mark.parametrize(("sampler", "order"), DETERMINISTIC.values(), ids=DETERMINISTIC)
def test_the_data_themselves_are_reached_at_the_stated_order(sampler, order):
    """Down to sigma = 0, on grids that shrink everywhere: sigma_max (1 - i/n)^2."""
    truth = THREE.flow(GRID, HIGH, 0.0)
    errors = []
    for n in COUNTS:
        sigmas = [HIGH * (1 - i / n) ** 2 for i in range(n + 1)]
        errors.append(abs(last(sampler(THREE.denoise, GRID, sigmas)).x - truth).max())
    assert order - 0.15 <= slope(errors, COUNTS) <= order + 0.25
    assert errors[-1] <= {1: 2e-2, 2: 3e-4}[order]


@pytest.mark.parametrize("name", ["linear", "cosine", "sigmoid"])
def test_ddim_converges_at_order_one(name):
    schedule = getattr(Schedule, name)(4097)
    first = int(schedule.time_of(20.0))

    def denoise(xt, t):
        return THREE.denoise(xt / math.sqrt(schedule.alpha_bar[t]), schedule.sigmas[t])

    stop = int(schedule.time_of(LOW))
    sigma, sigma_stop = schedule.sigmas[first], schedule.sigmas[stop]
    x = 4 * GRID  # in the coordinates of sigma
    truth = THREE.flow(x, sigma, sigma_stop)
    errors = []
    for n in COUNTS:
        times = np.round(np.linspace(first, stop, n + 1)).astype(int)
        steps = sample_ddim(denoise, x * math.sqrt(schedule.alpha_bar[first]), schedule, times)
        xt = list(steps)[n - 1].x
        errors.append(abs(xt / math.sqrt(schedule.alpha_bar[stop]) - truth).max())
    assert 0.9 <= slope(errors, COUNTS) <= 1.25


def moments(sample, start_std):
    """Exact mean and variance of a sampler's result on Gaussian data: x_end is affine in x_start
    and in every draw of noise, and so are rows of one batch that differ in one of them."""
    probe = sample(np.zeros((1, 1)), itertools.repeat(np.zeros((1, 1))))
    draws = len(list(probe)) - 1
    x = np.zeros((draws + 2, 1))
    x[1] = 1.0
    noise = np.zeros((draws, draws + 2, 1))
    noise[np.arange(draws), np.arange(draws) + 2] = 1.0
    end = last(sample(x, noise)).x[:, 0]
    weights = end[1:] - end[0]
    weights[0] *= start_std
    return end[0], np.square(weights).sum()


def ancestral(eta, n):
    sigmas = [HIGH * (1 - i / n) ** 2 for i in range(n + 1)]
    return lambda x, noise: sample_euler_ancestral(
        GAUSSIAN.denoise, x, sigmas, eta=eta, noise=noise
    )


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_the_ancestral_sampler_has_weak_order_one(eta):
    """x starts with the mixture's own distribution at sigma_max, and ends in the data's."""
    mean, std = GAUSSIAN.means[0, 0], GAUSSIAN.stds[0]
    start_std = math.hypot(std, HIGH)
    mean_errors, variance_errors = [], []
    for n in COUNTS:
        sample = ancestral(eta, n)

        def shifted(x, noise, sample=sample):
            return sample(x + mean, noise)

        found_mean, found_variance = moments(shifted, start_std)
        mean_errors.append(abs(found_mean - mean))
        variance_errors.append(abs(found_variance - std**2))
    assert max(mean_errors) <= 1e-12  # an affine denoiser's mean is a fixed point of the steps
    assert 0.85 <= slope(variance_errors, COUNTS) <= 1.2
    assert variance_errors[-1] <= 0.02


@pytest.mark.parametrize(("sampler", "name"), [(sample_ddpm, "linear"), (sample_ddim, "cosine")])
def test_ddpm_reaches_the_variance_of_the_data_at_order_one(sampler, name):
    schedule = {
        "linear": Schedule.linear(4096, 1e-4 / 4, 0.02 / 4),  # four times as fine as DDPM's
        "cosine": Schedule.cosine(4096),
    }[name]
    mean, std = GAUSSIAN.means[0, 0], GAUSSIAN.stds[0]

    def denoise(xt, t):
        return GAUSSIAN.denoise(xt / math.sqrt(schedule.alpha_bar[t]), schedule.sigmas[t])

    errors, counts = [], [64, 128, 256, 512, 1024]
    for n in counts:
        times = schedule.timesteps(n, "trailing")
        alpha, sigma = schedule.scales(times[0])

        def sample(x, noise, times=times, alpha=alpha):
            return sampler(denoise, x + alpha * mean, schedule, times, eta=1.0, noise=noise)

        found_mean, variance = moments(sample, math.hypot(alpha * std, sigma))
        assert abs(found_mean - mean) <= 1e-12
        errors.append(abs(variance - std**2))
    assert 0.85 <= slope(errors, counts) <= 1.2


def test_churn_keeps_the_distribution():
    """Heun with churn on Gaussian data: the same total of noise in more and more steps, and the
    variance of what comes out converges to the data's."""
    std, errors = GAUSSIAN.stds[0], []
    options = {"s_churn": 8.0, "s_min": 0.05, "s_max": 4.0}
    for n in COUNTS:
        sigmas = [HIGH * (1 - i / n) ** 2 for i in range(n + 1)]
        churned = sum(0.05 <= sigma <= 4.0 for sigma in sigmas[:-1])
        x = np.full((churned + 2, 1), GAUSSIAN.means[0, 0])
        x[1] += 1
        noise = np.zeros((churned, churned + 2, 1))
        noise[np.arange(churned), np.arange(churned) + 2] = 1
        end = last(sample_heun(GAUSSIAN.denoise, x, sigmas, **options, noise=noise)).x[:, 0]
        weights = end[1:] - end[0]
        assert (abs(weights[1:]) > 0).all()  # every draw matters
        weights[0] *= math.hypot(std, HIGH)
        assert abs(end[0] - GAUSSIAN.means[0, 0]) <= 1e-12
        errors.append(abs(np.square(weights).sum() - std**2))
    assert slope(errors, COUNTS) >= 0.85
    assert errors[-1] <= 2e-4


@pytest.mark.deep
@pytest.mark.parametrize("sampler", BY_SIGMA.values(), ids=BY_SIGMA)
def test_samples_of_a_mixture_are_distributed_as_the_mixture(sampler):
    """By the Kolmogorov-Smirnov statistic of 40,000 samples, at the 1e-4 level."""
    n, rng = 40_000, generator(sampler.__name__)
    x = 80 * rng.normal((n, 1), "float64")
    x = last(sampler(THREE.denoise, x, karras_sigmas(400), rng=rng)).x
    p = np.sort(THREE.cdf(x, 0.0))
    distance = abs(p - (np.arange(n) + 0.5) / n).max()
    assert distance <= math.sqrt(-0.5 * math.log(0.5e-4) / n) + 2e-3


def test_two_thousand_samples_have_the_mixtures_modes():
    """The quick version, with fresh noise: the three modes' shares, to five standard errors."""
    rng, n = generator(), 2000
    x = 80 * rng.normal((n, 1), "float64")
    x = last(sample_euler_ancestral(THREE.denoise, x, karras_sigmas(60), rng=rng)).x
    cuts = np.array([[-0.6], [0.7]])
    truth = np.diff([0.0, *THREE.cdf(cuts, 0.0), 1.0])
    found = np.histogram(x[:, 0], [-math.inf, *cuts[:, 0], math.inf])[0] / n
    assert (abs(found - truth) <= 5 * np.sqrt(truth * (1 - truth) / n)).all()
