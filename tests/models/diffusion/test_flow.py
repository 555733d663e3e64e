"""Flow matching: its loss, denoiser and times; pairs by optimal transport."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mixture import PLANE, THREE, last
from networks import N, Network, Oracle, draw, generator

from tinygen.models.diffusion import (
    Flow,
    Prediction,
    flow_times,
    sample_dpmpp_2m,
    sample_euler,
    sample_heun,
)
from tinygen.models.diffusion.coupling import optimal_assignment


def ideal_flow():
    return Flow(Oracle(Prediction.FLOW, lambda t: (1 - t / 1000, t / 1000)))


def test_the_flow_loss_is_the_error_of_the_velocity():
    network = Network()
    x0, noise = draw((N, 2, 3))
    t = np.linspace(0, 1, N)
    found = Flow(network).loss(x0, t=t, noise=noise)
    total = 0.0
    for i in range(N):
        xt = (1 - t[i]) * x0[i] + t[i] * noise[i]
        total += np.square(0.3 * xt + math.cos(1000 * t[i]) - (noise[i] - x0[i])).mean()
    assert math.isclose(found, total / N, rel_tol=1e-9)
    assert np.allclose(network.seen[1], 1000 * t, rtol=1e-15)


def test_flow_denoises_in_both_coordinates():
    model = ideal_flow()
    x, _ = draw()
    for sigma in (0.01, 0.3, 1.0, 20.0):
        truth = PLANE.denoise(x, sigma)
        assert np.allclose(model.denoise(x, sigma), truth, rtol=1e-9)
        t = sigma / (1 + sigma)
        assert np.allclose(model.denoise_at(x * (1 - t), t), truth, rtol=1e-9)


def even(n):
    return flow_times(n)


def shrinking(n):
    """Steps that shrink towards the data: DPM-Solver's, in log t, would else stay large there."""
    return [t * t for t in flow_times(n)]


@pytest.mark.parametrize(
    ("sampler", "order", "grid"),
    [(sample_euler, 1, even), (sample_heun, 2, even), (sample_dpmpp_2m, 2, shrinking)],
)
def test_the_samplers_solve_the_flow_in_its_own_time(sampler, order, grid):
    """From pure noise at t = 1 to data at t = 0, at the stated order: in one dimension the flow
    carries quantiles of N(0, 1) to those of the data."""
    x = np.linspace(-2.5, 2.5, 31)[:, None]

    def denoise(xt, t):
        if t == 1:
            return np.full_like(xt, THREE.weights @ THREE.means[:, 0])
        return THREE.denoise(xt / (1 - t), t / (1 - t))

    truth = THREE.flow(1e7 * x, 1e7, 0.0)
    counts = [32, 64, 128, 256]
    errors = [abs(last(sampler(denoise, x, grid(n))).x - truth).max() for n in counts]
    found = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert order - 0.15 <= found <= order + 0.3
    assert errors[-1] <= {1: 2e-2, 2: 1e-3}[order]


def test_an_euler_step_of_the_flow_follows_the_velocity():
    model = Flow(Network())
    x, _ = draw()
    times = flow_times(3)
    for step, (t, s) in zip(
        sample_euler(model.denoise_at, x, times), itertools.pairwise(times), strict=True
    ):
        velocity = 0.3 * x + math.cos(1000 * t)
        assert np.allclose(step.x, x + (s - t) * velocity, rtol=1e-12, atol=1e-13)
        x = step.x


def test_logit_normal_times():
    network = Network()
    n = 20_000
    Flow(network, logit_normal=(0.3, 1.4)).loss(np.zeros((n, 1)), rng=generator())
    t = network.seen[1] / 1000
    logits = np.log(t / (1 - t))
    assert abs(logits.mean() - 0.3) <= 5 * 1.4 / math.sqrt(n)
    assert abs(logits.std() - 1.4) <= 5 * 1.4 / math.sqrt(2 * n)
    Flow(network).loss(np.zeros((n, 1)), rng=generator())
    counts = np.histogram(network.seen[1] / 1000, np.linspace(0, 1, 11))[0]
    assert (abs(counts - n / 10) <= 5 * math.sqrt(n * 0.09)).all()


@given(st.integers(1, 50), st.floats(0.1, 20))
def test_flow_times(n, shift):
    times = flow_times(n, shift=shift)
    assert len(times) == n + 1
    assert (times[0], times[-1]) == (1, 0)
    assert all(a > b for a, b in itertools.pairwise(times))
    if n % 2 == 0:  # Esser et al. 2024, eq. 23: sigma = t / (1 - t) is multiplied by the shift
        middle = times[n // 2]
        assert math.isclose(middle / (1 - middle), shift, rel_tol=1e-9)


# ---- optimal transport


@given(st.integers(1, 6), st.integers(0, 10**6))
def test_the_assignment_is_the_best_of_all(n, seed):
    cost = generator(seed).normal((n, n), "float64").round(1)  # ties happen
    found = optimal_assignment(cost)
    assert sorted(found) == list(range(n))
    best = min(cost[np.arange(n), list(p)].sum() for p in itertools.permutations(range(n)))
    assert cost[np.arange(n), found].sum() <= best + 1e-12


@pytest.mark.parametrize("n", [17, 64])
def test_on_a_line_the_best_pairing_is_sorted(n):
    a, b = (generator(seed).normal((n,), "float64") for seed in range(2))
    found = optimal_assignment(np.square(a[:, None] - b))
    assert np.array_equal(np.argsort(b[found]), np.argsort(a))


def test_optimal_transport_pairs_noise_with_data():
    network = Network()
    x0, noise = draw((16, 3))
    Flow(network, optimal_transport=True).loss(x0, t=np.ones(16), noise=noise)
    paired = network.seen[0]  # at t = 1 the network sees the noise itself
    assert np.array_equal(np.sort(paired, axis=0), np.sort(noise, axis=0))
    assert np.square(x0 - paired).sum() < np.square(x0 - noise).sum()
