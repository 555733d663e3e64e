"""Samplers against each other and against the papers, step by step."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mixture import PLANE

import tinygen as tg
from tinygen.models.diffusion import (
    Schedule,
    sample_ddim,
    sample_ddpm,
    sample_dpmpp_2m,
    sample_euler_ancestral,
    sample_heun,
)


def generator(seed=0):
    return tg.random.Generator(seed)


@given(st.floats(0, 1), st.integers(1, 12), st.sampled_from(["linear", "cosine"]))
def test_ddim_is_the_euler_step_in_the_coordinates_of_sigma(eta, n, name):
    """Both families are one: the same noise gives the same path, to rounding."""
    schedule = getattr(Schedule, name)(100)
    times = schedule.timesteps(n, "trailing")
    root = np.sqrt(schedule.alpha_bar)
    rng = generator()
    x = rng.normal((5, 2), "float64")
    noise = list(rng.normal((n, 5, 2), "float64"))

    def denoise(xt, t):
        return PLANE.denoise(xt / root[t], schedule.sigmas[t])

    by_time = list(sample_ddim(denoise, x, schedule, times, eta=eta, noise=noise))
    sigmas = [*schedule.sigmas[times], 0.0]
    start = x / root[times[0]]
    by_sigma = list(sample_euler_ancestral(PLANE.denoise, start, sigmas, eta=eta, noise=noise))
    for a, b, t in zip(by_time, by_sigma, [*times[1:], None], strict=True):
        assert a.step == b.step
        assert math.isclose(a.sigma, b.sigma, rel_tol=1e-9, abs_tol=1e-12)
        scale = 1.0 if t is None else root[t]
        # x starts at up to 1 / root and is brought down: errors are relative to where it came from
        assert np.allclose(a.x / scale, b.x, rtol=1e-7, atol=1e-7 * abs(start).max() * b.sigma)
        assert np.allclose(a.x0, b.x0, rtol=1e-7, atol=1e-9)


@given(st.integers(2, 30), st.integers(1, 30), st.integers(0, 5))
def test_eta_one_draws_from_the_posterior_of_ddpm(T, n, seed):
    """Ho et al. 2020, algorithm 2: mean and variance are those of q(x_s | x_t, x0)."""
    schedule = Schedule.cosine(T)
    times = schedule.timesteps(min(n, T))
    rng = generator(seed)
    x = rng.normal((3, 2), "float64")
    noise = list(rng.normal((len(times), 3, 2), "float64"))
    steps = sample_ddpm(lambda xt, t: 0.3 * xt + t / T, x, schedule, times, noise=noise)
    for step, (t, s) in zip(steps, itertools.pairwise([*times, -1]), strict=True):
        assert np.array_equal(step.x0, 0.3 * x + t / T)
        mean, variance = schedule.posterior(step.x0, x, t, s)
        drawn = math.sqrt(variance) * noise[step.step]
        assert np.allclose(step.x, mean + drawn, rtol=1e-6, atol=1e-7)
        x = step.x


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_keeps_the_marginals_for_every_eta(eta):
    """Song et al. 2021, lemma 1: with the true x0, q(x_s | x0) is N(sqrt(ab_s) x0, (1 - ab_s) I),
    whatever eta: checked exactly, through the weights of the noise in each step's x."""
    schedule, x0 = Schedule.linear(50), 0.8
    times = schedule.timesteps(8)
    rows = len(times) + 1  # row i has the unit of noise i alone
    unit = np.eye(rows)[:, :, None]
    alpha, sigma = schedule.scales(times[0])
    x = alpha * x0 + sigma * unit[0]
    x = np.concatenate([x, [[alpha * x0]]])  # the last row has no noise at all
    noise = np.concatenate([unit[1:], np.zeros((rows - 1, 1, 1))], axis=1)
    steps = sample_ddim(
        lambda xt, t: np.full_like(xt, x0), x, schedule, times, eta=eta, noise=noise
    )
    for step, s in zip(steps, [*times[1:], -1], strict=True):
        alpha, sigma = (1.0, 0.0) if s == -1 else schedule.scales(s)
        assert np.allclose(step.x[-1], alpha * x0, rtol=1e-12)
        assert abs(np.square(step.x[:-1] - step.x[-1]).sum() - sigma**2) <= 1e-12


def test_two_steps_of_dpm_solver_are_those_of_the_paper():
    """Lu et al. 2022, algorithm 2, written out for alpha = 1."""
    sigmas = [3.0, 1.2, 0.7, 0.0]
    x = generator().normal((4, 2), "float64")
    lam = [-math.log(s) for s in sigmas[:-1]]
    h1, h2 = lam[1] - lam[0], lam[2] - lam[1]
    d0 = PLANE.denoise(x, 3.0)
    x1 = (1.2 / 3.0) * x - math.expm1(-h1) * d0
    d1 = PLANE.denoise(x1, 1.2)
    r = h1 / h2
    d = (1 + 1 / (2 * r)) * d1 - 1 / (2 * r) * d0
    x2 = (0.7 / 1.2) * x1 - math.expm1(-h2) * d
    steps = list(sample_dpmpp_2m(PLANE.denoise, x, sigmas))
    assert np.allclose(steps[0].x, x1, rtol=1e-13)
    assert np.allclose(steps[1].x, x2, rtol=1e-13)
    assert np.array_equal(steps[2].x, PLANE.denoise(steps[1].x, 0.7))


def test_churn_draws_noise_within_its_interval_only():
    sigmas = [4.0, 3.0, 2.0, 1.0, 0.5, 0.0]
    levels = []

    def denoise(x, sigma):
        levels.append(sigma)
        return 0.5 * x

    noise = list(generator().normal((2, 3, 1), "float64"))
    list(sample_heun(denoise, np.ones((3, 1)), sigmas, s_churn=1, s_min=1, s_max=2, noise=noise))
    assert levels == [4.0, 3.0, 3.0, 2.0, 2.0 * 1.2, 1.0, 1.0 * 1.2, 0.5, 0.5]
    levels.clear()  # the step is never more than by sqrt(2)
    list(sample_heun(denoise, np.ones((1, 1)), [1.0, 0.0], s_churn=9, rng=generator()))
    assert levels == [math.sqrt(2)]
