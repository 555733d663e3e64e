"""Schedules: the forward process step by step and all at once, the published curves, the times."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tinygen as tg
from tinygen.errors import DtypeError, OutOfRangeError, ShapeError, UsageError
from tinygen.models.diffusion import Schedule, karras_sigmas

U = 2.0**-53  # half a unit in the last place of 1

NAMED = {
    "linear": Schedule.linear(),
    "cosine": Schedule.cosine(),
    "sigmoid": Schedule.sigmoid(),
    "zero": Schedule.cosine(50).zero_terminal_snr(),
    "short": Schedule([0.1, 0.5, 0.9]),
}
NAMES = pytest.mark.parametrize("schedule", NAMED.values(), ids=NAMED)

BETAS = st.lists(st.floats(1e-5, 0.999), min_size=1, max_size=40)


def test_linear_is_that_of_ddpm():
    s = Schedule.linear()
    assert s.T == 1000
    assert s.betas.dtype == s.alpha_bar.dtype == np.float64
    assert s.betas[0] == 1e-4
    assert s.betas[-1] == 0.02
    assert np.allclose(np.diff(s.betas), 0.0199 / 999, rtol=1e-9)
    # exp(sum log1p(-beta)): the product by another road
    truth = math.exp(math.fsum(math.log1p(-b) for b in s.betas))
    assert abs(s.alpha_bar[-1] / truth - 1) <= 2000 * U


def test_cosine_follows_its_formula_where_beta_is_not_cut():
    s = Schedule.cosine(200)
    f = [math.cos((t / 200 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(201)]
    assert np.allclose(s.alpha_bar[:-1], np.array(f[1:-1]) / f[0], rtol=1e-12)
    assert s.betas[-1] == 0.999


def test_sigmoid_follows_its_formula():
    s = Schedule.sigmoid(10, start=-2, end=4, tau=0.7)

    def curve(u):
        return 1 / (1 + math.exp(-(6 * u - 2) / 0.7))

    truth = [(curve(1) - curve((t + 1) / 10)) / (curve(1) - curve(0)) for t in range(10)]
    assert np.allclose(s.alpha_bar[:-1], truth[:-1], rtol=1e-12)
    assert s.alpha_bar[-1] == 1e-9


@NAMES
def test_alpha_bar_is_the_product_of_the_steps(schedule):
    assert np.allclose(schedule.alpha_bar, np.cumprod(1 - schedule.betas), rtol=1e-9, atol=0)
    assert (np.diff(schedule.alpha_bar) < 0).all()
    seen = schedule.alpha_bar > 0
    assert np.allclose(schedule.snr[seen] * schedule.sigmas[seen] ** 2, 1, rtol=1e-14)


@pytest.mark.parametrize(
    "schedule", [Schedule.linear(), Schedule.cosine(), Schedule.sigmoid(), Schedule.linear(2)]
)
def test_zero_terminal_snr_is_exactly_zero_and_keeps_the_first(schedule):
    zero = schedule.zero_terminal_snr()
    assert zero.alpha_bar[-1] == 0
    assert zero.snr[-1] == 0
    assert zero.sigmas[-1] == math.inf
    assert zero.betas[-1] == 1
    assert zero.alpha_bar[0] == schedule.alpha_bar[0]
    # sqrt(alpha_bar) is an affine function of what it was
    before, after = np.sqrt(schedule.alpha_bar), np.sqrt(zero.alpha_bar)
    slope = (after[0] - after[-1]) / (before[0] - before[-1])
    assert np.allclose(after - after[-1], slope * (before - before[-1]), rtol=1e-12)
    again = zero.zero_terminal_snr()
    assert np.allclose(again.alpha_bar, zero.alpha_bar, rtol=1e-14)


# ---- the process


@given(BETAS)
@example([0.5] * 3)
def test_the_steps_compose_to_the_marginal(betas):
    """Eq. 2, one step after the other, is eq. 4: mean factor and variance, exactly."""
    s = Schedule(betas)
    factor, variance = 1.0, 0.0
    for t, beta in enumerate(betas):
        factor = math.sqrt(1 - beta) * factor
        variance = (1 - beta) * variance + beta
        alpha, sigma = s.scales(t)
        assert abs(alpha - factor) <= 4 * (t + 2) * U * factor
        assert abs(sigma**2 - variance) <= 8 * (t + 2) * U


@given(BETAS, st.data())
def test_the_posterior_is_bayes_rule(betas, data):
    """q(x_s | x_t, x0) ~ q(x_t | x_s) q(x_s | x0): precisions add, means are weighted by them."""
    s = Schedule(betas)
    t = data.draw(st.integers(0, s.T - 1))
    back = data.draw(st.integers(-1, t - 1))
    a, b, variance = s.posterior_weights(t, back)
    if back == -1:
        assert (b, variance) == (0, 0)
        assert abs(a - 1) <= 4 * U
        return
    kept = math.prod(1 - beta for beta in betas[back + 1 : t + 1])
    prior = 1 / (1 - s.alpha_bar[back])
    likelihood = kept / (1 - kept)  # of x_t as a function of x_s
    truth = 1 / (prior + likelihood)
    assert math.isclose(variance, truth, rel_tol=1e-9)
    assert math.isclose(a, truth * prior * math.sqrt(s.alpha_bar[back]), rel_tol=1e-9)
    assert math.isclose(b, truth * likelihood / math.sqrt(kept), rel_tol=1e-9)


@NAMES
def test_the_posterior_is_that_of_ddpm(schedule):
    """Eq. 6 and 7, as they are printed."""
    t = np.arange(1, schedule.T)
    a, b, variance = schedule.posterior_weights(t)
    now, before = schedule.alpha_bar[1:], schedule.alpha_bar[:-1]
    beta = schedule.betas[1:]
    assert np.allclose(a, np.sqrt(before) * beta / (1 - now), rtol=1e-9)
    assert np.allclose(b, np.sqrt(1 - beta) * (1 - before) / (1 - now), rtol=1e-7, atol=1e-12)
    assert np.allclose(variance, (1 - before) / (1 - now) * beta, rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(3,), (3, 2), (3, 4, 5, 1), (0, 2)])
def test_noise_is_added_to_each_example_at_its_time(shape, dtype):
    s, rng = NAMED["linear"], tg.random.Generator(0)
    x0, noise = rng.normal(shape, dtype), rng.normal(shape, dtype)
    t = np.array([0, 999, 500])[: shape[0]]
    xt = s.add_noise(x0, noise, t)
    assert xt.dtype == x0.dtype
    for i in range(shape[0]):
        alpha, sigma = math.sqrt(s.alpha_bar[t[i]]), math.sqrt(1 - s.alpha_bar[t[i]])
        u = np.finfo(dtype).eps
        bound = 2 * u * (alpha * abs(x0[i]) + sigma * abs(noise[i]))
        assert (abs(xt[i] - (alpha * x0[i].astype("f8") + sigma * noise[i])) <= bound).all()
        assert np.array_equal(s.add_noise(x0[i : i + 1], noise[i : i + 1], int(t[i]))[0], xt[i])
    as_tensor = s.add_noise(tg.tensor(x0), noise, t)
    assert np.array_equal(as_tensor.numpy(), xt)


def test_the_mean_of_the_posterior_is_taken_for_each_example():
    s, rng = NAMED["linear"], tg.random.Generator(0)
    x0, xt = rng.normal((2, 3), "float64"), rng.normal((2, 3), "float64")
    mean, variance = s.posterior(x0, xt, np.array([3, 700]))
    for i, t in enumerate([3, 700]):
        a, b, v = s.posterior_weights(t)
        assert np.array_equal(mean[i], a * x0[i] + b * xt[i])
        assert variance[i] == v


def test_times_of_a_noise_level():
    s = NAMED["linear"]
    assert np.allclose(s.time_of(s.sigmas), np.arange(1000), atol=1e-9)
    between = math.sqrt(s.sigmas[10] * s.sigmas[11])
    assert abs(s.time_of(between) - 10.5) <= 1e-9
    assert s.time_of(0) == 0
    assert s.time_of(1e9) == 999
    assert NAMED["zero"].time_of(1e9) == 48  # the last time of finite noise


# ---- which times


@given(st.integers(1, 2000), st.data(), st.sampled_from(["linspace", "leading", "trailing"]))
@example(1, None, "linspace")
def test_timesteps_fall_strictly_within_the_schedule(T, data, spacing):
    s = Schedule(np.full(T, 1e-3))
    n = 1 if data is None else data.draw(st.integers(1, T))
    times = s.timesteps(n, spacing)
    assert len(times) == n
    assert all(a > b for a, b in itertools.pairwise(times))
    assert times[0] <= T - 1
    assert times[-1] >= 0
    assert times.dtype == np.int64
    if spacing != "leading":
        assert times[0] == T - 1
    if spacing == "leading" or (spacing == "linspace" and n > 1):
        assert times[-1] == 0
    gaps = -np.diff([*times, -1] if spacing == "trailing" else times)
    if gaps.size:
        assert gaps.max() - gaps.min() <= 1  # as even as integers can be


@given(st.integers(2, 3000), st.data())
@example(10, None)
def test_timesteps_are_those_of_the_table(T, data):
    """Lin et al. 2024, table 2, in exact fractions, halves rounded up."""
    n = 4 if data is None else data.draw(st.integers(2, T))
    s = Schedule(np.full(T, 1e-3))
    half = Fraction(1, 2)
    even = [math.floor(Fraction(i * (T - 1), n - 1) + half) for i in range(n)]
    trailing = [math.floor(Fraction((i + 1) * T, n) + half) - 1 for i in range(n)]
    assert s.timesteps(n).tolist() == even[::-1]
    assert s.timesteps(n, "trailing").tolist() == trailing[::-1]
    assert s.timesteps(n, "leading").tolist() == [i * T // n for i in range(n)][::-1]


@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
@pytest.mark.parametrize("T", [1, 2, 3, 7, 1000])
def test_all_timesteps_are_all(T, spacing):
    assert Schedule.linear(T).timesteps(T, spacing).tolist() == list(range(T - 1, -1, -1))


def test_a_sigma_grid_is_the_levels_of_its_times():
    s = NAMED["cosine"]
    grid = s.sigma_grid(7, "trailing")
    assert grid == [*s.sigmas[s.timesteps(7, "trailing")], 0.0]


@given(st.integers(1, 60), st.floats(1e-3, 1), st.floats(1.1, 1e4), st.floats(0.5, 20))
def test_karras_sigmas(n, low, ratio, rho):
    high = low * ratio
    sigmas = karras_sigmas(n, low, high, rho)
    assert len(sigmas) == n + 1
    assert sigmas[0] == high
    assert sigmas[-1] == 0
    assert all(a > b for a, b in itertools.pairwise(sigmas))
    if n > 1:
        assert sigmas[-2] == low
        roots = np.array(sigmas[:-1]) ** (1 / rho)
        assert np.allclose(np.diff(roots), np.diff(roots).mean(), rtol=1e-6)


# ---- bad input


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Schedule([]), UsageError, "betas is empty"),
        (lambda: Schedule([[0.1]]), UsageError, "sequence of numbers"),
        (lambda: Schedule(["a"]), UsageError, "sequence of numbers"),
        (lambda: Schedule.from_alpha_bar(0.5), UsageError, "alpha_bar is 0.5"),
        (lambda: Schedule([0.1, 0.0]), UsageError, "t = 1 beta is 0.0"),
        (lambda: Schedule([0.1, math.nan, 0.1]), UsageError, "t = 1 beta is nan"),
        (lambda: Schedule([1.0, 0.5]), UsageError, "t = 0 beta is 1.0"),
        (lambda: Schedule([0.1, 1e-18]), UsageError, "alpha_bar falls"),  # 1 - 1e-18 is 1
        (lambda: Schedule.from_alpha_bar([0.9, 0.9]), UsageError, "t = 1"),
        (lambda: Schedule.from_alpha_bar([0.9, 0.0, 0.0]), UsageError, "t = 1"),
        (lambda: Schedule.from_alpha_bar([1.0, 0.5]), UsageError, "t = 0"),
        (lambda: Schedule.linear(0), UsageError, "T, is 0"),
        (lambda: Schedule.cosine(-1), UsageError, "T, is -1"),
        (lambda: Schedule.linear(10.5), UsageError, "T, is 10.5"),
        (lambda: Schedule.cosine(10.5), UsageError, "T, is 10.5"),
        (lambda: Schedule.sigmoid(10.5), UsageError, "T, is 10.5"),
        (lambda: Schedule.linear(10, "a"), UsageError, "beta_start is 'a'"),
        (lambda: Schedule.linear(10, beta_end=math.nan), UsageError, "beta_end is nan"),
        (lambda: Schedule.cosine(10, s=None), UsageError, "s is None"),
        (lambda: Schedule.cosine(10, beta_max="a"), UsageError, "beta_max is 'a'"),
        (lambda: Schedule.sigmoid(10, tau=0), UsageError, "tau is 0"),
        (lambda: Schedule.sigmoid(10, start=3), UsageError, "end is 3.0; it must .* above 3"),
        (lambda: Schedule.linear(1).zero_terminal_snr(), UsageError, "T >= 2"),
        (lambda: NAMED["short"].timesteps(0), UsageError, "0 timesteps of a schedule of 3"),
        (lambda: NAMED["short"].timesteps(4), UsageError, "4 timesteps"),
        (lambda: NAMED["short"].timesteps(1.5), UsageError, "timesteps is 1.5"),
        (lambda: NAMED["short"].time_of(-1), UsageError, "0 or more, and this is -1"),
        (lambda: NAMED["short"].time_of("a"), UsageError, "'a'"),
        (lambda: NAMED["short"].timesteps(2, "odd"), UsageError, "'odd'"),
        (lambda: NAMED["short"].add_noise(np.ones((2, 1)), 0, 3), OutOfRangeError, "3 to 3"),
        (lambda: NAMED["short"].add_noise(np.ones((2, 1)), 0, -2), OutOfRangeError, "-2"),
        (lambda: NAMED["short"].add_noise(np.ones((2, 1)), 0, 0.5), UsageError, "integers"),
        (lambda: NAMED["short"].add_noise(np.ones(2, int), 0, 1), DtypeError, "floating"),
        (
            lambda: NAMED["short"].add_noise(np.ones((2, 1)), 0, np.array([0, 1, 2])),
            ShapeError,
            r"\(3,\) do not fit a batch of shape \(2, 1\)",
        ),
        (lambda: NAMED["short"].posterior_weights(1, 1), UsageError, "not before"),
        (lambda: NAMED["short"].posterior_weights(0, -2), OutOfRangeError, "-2"),
        (lambda: karras_sigmas(0), UsageError, "n is 0"),
        (lambda: karras_sigmas(2.5), UsageError, "n is 2.5"),
        (lambda: karras_sigmas(3, 1.0, 0.5), UsageError, "sigma_max is 0.5; it must .* above 1.0"),
        (lambda: karras_sigmas(3, "a"), UsageError, "sigma_min is 'a'"),
        (lambda: karras_sigmas(3, rho=math.nan), UsageError, "rho is nan"),
        (lambda: karras_sigmas(3, 1.0, math.inf), UsageError, "finite"),
    ],
)
def test_bad_input_is_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_schedule_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        NAMED["linear"].betas[0] = 0.5
    betas = np.full(3, 0.1)
    s = Schedule(betas)
    betas[0] = 0.9  # the caller's array is the caller's
    assert s.betas[0] == 0.1
    assert repr(s) == "Schedule(T=3, alpha_bar 0.9 ... 0.729)"
