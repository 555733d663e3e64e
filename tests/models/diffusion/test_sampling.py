"""Samplers: the known distribution is reached at the stated order, by the stated steps.

Deterministic samplers follow the probability flow of a one-dimensional mixture, whose solution is
known exactly (`mixture.Mixture.flow`). Samplers with fresh noise are linear in it when the data are
Gaussian, so that the mean and variance of what they make are computed exactly, not estimated.
"""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mixture import GAUSSIAN, PLANE, THREE, last

import tinygen as tg
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.models.diffusion import (
    Schedule,
    karras_sigmas,
    sample_ddim,
    sample_ddpm,
    sample_dpmpp_2m,
    sample_euler,
    sample_euler_ancestral,
    sample_heun,
    sample_repaint,
)

HIGH, LOW = 5.0, 0.05
GRID = np.linspace(-8, 8, 41)[:, None]  # starting points, (41, 1)
COUNTS = [16, 32, 64, 128, 256]

DETERMINISTIC = {"euler": (sample_euler, 1), "heun": (sample_heun, 2), "2m": (sample_dpmpp_2m, 2)}
BY_SIGMA = {**{n: s for n, (s, _) in DETERMINISTIC.items()}, "ancestral": sample_euler_ancestral}


def generator(seed=0):
    return tg.random.Generator(seed)


def slope(errors, counts):
    """The order: minus the slope of log error against log count, by the last doublings."""
    return -np.polyfit(np.log(counts[-4:]), np.log(errors[-4:]), 1)[0]


# ---- the order of convergence


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


# ---- samplers against each other and against the papers


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


# ---- the contract


def run(sampler, x, n=7, denoise=PLANE.denoise, **options):
    if sampler is sample_euler_ancestral:
        options.setdefault("rng", generator("draws"))
    return sampler(denoise, x, karras_sigmas(n, 0.1, 10.0), **options)


@pytest.mark.parametrize("sampler", BY_SIGMA.values(), ids=BY_SIGMA)
def test_steps_say_where_they_are(sampler):
    sigmas = karras_sigmas(7, 0.1, 10.0)
    x = 10 * generator().normal((3, 2), "float64")
    steps = list(run(sampler, x))
    assert [s.step for s in steps] == list(range(7))
    assert [s.sigma for s in steps] == sigmas[1:]
    before = x
    for step, sigma in zip(steps, sigmas, strict=False):
        assert np.array_equal(step.x0, PLANE.denoise(before, sigma))
        before = step.x
    assert np.array_equal(steps[-1].x, steps[-1].x0)  # the sample is the last estimate, exactly
    step, sigma, x, x0 = steps[2]  # a step unpacks
    assert (step, sigma, x.shape, x0.shape) == (2, sigmas[3], (3, 2), (3, 2))


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("sampler", BY_SIGMA.values(), ids=BY_SIGMA)
def test_the_denoiser_is_asked_once_a_step_and_by_heun_twice_but_at_the_end(sampler, n):
    asked = []

    def denoise(x, sigma):
        assert type(sigma) is float
        asked.append(sigma)
        return PLANE.denoise(x, sigma)

    x = np.ones((2, 2))
    list(run(sampler, x, n, denoise))
    assert len(asked) == (2 * n - 1 if sampler is sample_heun else n)
    assert 0 not in asked


@pytest.mark.parametrize("sampler", BY_SIGMA.values(), ids=BY_SIGMA)
def test_generators_are_lazy(sampler):
    asked = []

    def denoise(x, sigma):
        asked.append(sigma)
        return 0.5 * x

    steps = run(sampler, np.ones((2, 2)), 1000, denoise)
    assert asked == []
    next(steps)
    assert len(asked) == (2 if sampler is sample_heun else 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(0, 2), (1, 2), (3, 2)])
@pytest.mark.parametrize("sampler", BY_SIGMA.values(), ids=BY_SIGMA)
def test_arrays_and_tensors_alike(sampler, shape, dtype):
    x = generator().normal(shape, dtype)
    kept = x.copy()
    arrays = list(run(sampler, x))
    tensors = list(run(sampler, tg.tensor(x)))
    assert np.array_equal(x, kept)  # the caller's array is the caller's
    for a, b in zip(arrays, tensors, strict=True):
        assert type(a.x) is type(a.x0) is np.ndarray
        assert a.x.dtype == a.x0.dtype == dtype
        assert np.array_equal(a.x, b.x.numpy())
        assert np.array_equal(a.x0, b.x0.numpy())


def test_deterministic_samplers_are_and_the_others_follow_their_rng():
    x = generator().normal((3, 2), "float64")
    for sampler in BY_SIGMA.values():
        first, again = (last(run(sampler, x, rng=generator(5))).x for _ in range(2))
        assert np.array_equal(first, again)
        other = last(run(sampler, x, rng=generator(6))).x
        assert np.array_equal(first, other) == (sampler is not sample_euler_ancestral)
    schedule = Schedule.cosine(20)
    times = schedule.timesteps(5)
    denoise = lambda xt, t: 0.5 * xt  # noqa: E731
    first, again = (last(sample_ddim(denoise, x, schedule, times)).x for _ in range(2))
    assert np.array_equal(first, again)
    given_rng = last(sample_ddim(denoise, x, schedule, times, eta=0.0, rng=generator())).x
    assert np.array_equal(first, given_rng)


def test_given_noise_is_what_the_generator_would_draw():
    x = generator().normal((3, 2), "float64")
    rng = generator(1)
    noise = [rng.normal((3, 2), "float64") for _ in range(6)]
    by_noise = last(run(sample_euler_ancestral, x, noise=iter(noise), rng=None))
    assert np.array_equal(by_noise.x, last(run(sample_euler_ancestral, x, rng=generator(1))).x)


def test_eta_zero_is_euler():
    x = generator().normal((3, 2), "float64")
    euler = list(run(sample_euler, x))
    for a, b in zip(euler, run(sample_euler_ancestral, x, eta=0.0, rng=None), strict=True):
        assert np.allclose(a.x, b.x, rtol=1e-15, atol=0)


def test_the_gradient_of_a_sample_by_its_start():
    """d x_end / d x_start of Euler on Gaussian data is a product of the steps' slopes."""
    sigmas = [2.0, 1.0, 0.5, 0.0]
    x = tg.tensor([[0.3]], dtype="float64", requires_grad=True)
    last(sample_euler(GAUSSIAN.denoise, x, sigmas)).x.sum().backward()
    expected, v = 1.0, 0.6**2
    for a, b in itertools.pairwise(sigmas):
        shrink = v / (v + a * a)
        expected *= shrink + b / a * (1 - shrink)
    assert abs(x.grad.item() / expected - 1) <= 1e-14


def test_a_network_leaves_no_graph_behind_arrays():
    weight = tg.tensor([0.5], requires_grad=True)
    seen = []

    def denoise(x, sigma):
        x0 = weight * x
        seen.append(x0.requires_grad)
        return x0

    steps = run(sample_heun, np.ones((2, 1), "float32"), 3, denoise)
    assert type(last(steps).x) is np.ndarray
    assert not any(seen)
    step = next(run(sample_euler, tg.ones((2, 1)), 3, denoise))
    assert step.x.requires_grad  # Tensors keep it
    assert (tg.tensor([1.0], requires_grad=True) * 2).requires_grad  # recording goes on outside


def test_from_pure_noise_at_zero_terminal_snr():
    """alpha_bar is 0 at the first time: the noise in x is x itself."""
    schedule = Schedule.cosine(30).zero_terminal_snr()
    times = schedule.timesteps(10)

    def denoise(xt, t):
        alpha, sigma = schedule.scales(t)
        s2 = 0.6**2  # Gaussian data N(0.7, 0.6^2)
        gain = alpha * s2 / (alpha**2 * s2 + sigma**2)
        return 0.7 + gain * (xt - alpha * 0.7)

    x = generator().normal((4, 1), "float64")
    for sampler, options in ((sample_ddim, {}), (sample_ddpm, {"rng": generator()})):
        steps = list(sampler(denoise, x, schedule, times, **options))
        assert np.isfinite(steps[0].x).all()
        assert all(math.isfinite(step.sigma) for step in steps)
        assert np.array_equal(steps[0].x0, np.full((4, 1), 0.7))


# ---- bad input


def denoise_points(x, level):
    return 0.5 * x


X = np.ones((2, 2), "float32")
SCHEDULE = Schedule.linear(10)


@pytest.mark.parametrize("sampler", [*BY_SIGMA.values(), sample_repaint])
@pytest.mark.parametrize(
    ("x", "sigmas", "error", "message"),
    [
        (X, [], UsageError, r"0 noise level\(s\)"),
        (X, [0.0], UsageError, r"1 noise level\(s\)"),
        (X, [1.0, 2.0, 0.0], UsageError, r"sigmas\[0\] = 1.0 is followed by 2.0"),
        (X, [2.0, 1.0, 1.0, 0.0], UsageError, r"sigmas\[1\] = 1.0 is followed by 1.0"),
        (X, [2.0, 1.0], UsageError, "last of sigmas is 1.0"),
        (X, [2.0, 1.0, -1.0], UsageError, "last of sigmas is -1.0"),
        (X, [math.inf, 1.0, 0.0], UsageError, "inf is followed"),
        (X, [math.nan, 1.0, 0.0], UsageError, "nan is followed"),
        (X, [1.0, math.nan, 0.0], UsageError, "followed by nan"),
        (np.ones((2, 2), int), [1.0, 0.0], DtypeError, "int64"),
        ([[1.0]], [1.0, 0.0], DtypeError, "list"),
        (np.float32(1)[()], [1.0, 0.0], ShapeError, "no batch axis"),
    ],
)
def test_bad_sigmas_and_x_are_explained_at_once(sampler, x, sigmas, error, message):
    extra = (X, X > 0) if sampler is sample_repaint else ()
    with pytest.raises(error, match=f"^{sampler.__name__}: .*{message}"):
        sampler(denoise_points, x, *extra, sigmas, rng=generator())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: sample_euler_ancestral(denoise_points, X, [1, 0]), UsageError, "rng"),
        (
            lambda: sample_euler_ancestral(denoise_points, X, [1, 0], eta=2, rng=generator()),
            UsageError,
            "eta is 2",
        ),
        (
            lambda: last(sample_euler_ancestral(denoise_points, X, [2, 1, 0], noise=[])),
            UsageError,
            "used up",
        ),
        (
            lambda: last(sample_euler_ancestral(denoise_points, X, [2, 1, 0], noise=[X[:1]])),
            ShapeError,
            r"float32\[1, 2\]",
        ),
        (lambda: sample_heun(denoise_points, X, [1, 0], s_churn=1), UsageError, "rng"),
        (lambda: sample_heun(denoise_points, X, [1, 0], s_churn=-1), UsageError, "s_churn"),
        (lambda: sample_heun(denoise_points, X, [1, 0], s_noise="a"), UsageError, "s_noise is 'a'"),
        (lambda: sample_heun(denoise_points, X, [1, 0], s_min=math.nan), UsageError, "s_min"),
        (lambda: sample_heun(denoise_points, X, [1, 0], s_max=-1), UsageError, "s_max"),
        (lambda: sample_euler(denoise_points, X, ["a"]), UsageError, "sequence of numbers"),
        (lambda: sample_euler(denoise_points, X, "10"), UsageError, "'10'"),
        (lambda: sample_heun(denoise_points, X, [1, None, 0]), UsageError, "None"),
        (lambda: sample_dpmpp_2m(denoise_points, X, 3), UsageError, "sigmas is 3"),
        (
            lambda: sample_euler_ancestral(denoise_points, X, [1, 0], eta="a"),
            UsageError,
            "eta is 'a'",
        ),
        (lambda: sample_ddpm(denoise_points, X, SCHEDULE, [5, 0]), UsageError, "rng"),
        (lambda: sample_ddim(denoise_points, X, SCHEDULE, []), UsageError, "one or more"),
        (lambda: sample_ddim(denoise_points, X, SCHEDULE, [1.5, 0]), UsageError, "integers"),
        (lambda: sample_ddim(denoise_points, X, SCHEDULE, ["a"]), UsageError, "integers"),
        (lambda: sample_ddim(denoise_points, X, SCHEDULE, [math.nan]), UsageError, "integers"),
        (lambda: sample_ddim(denoise_points, X, SCHEDULE, 3), UsageError, "integers, not 3"),
        (
            lambda: sample_ddim(denoise_points, X, SCHEDULE, [5], eta=None),
            UsageError,
            "eta is None",
        ),
        (lambda: sample_ddim(denoise_points, X, SCHEDULE, [10, 0]), UsageError, "9 ... 0"),
        (lambda: sample_ddim(denoise_points, X, SCHEDULE, [5, 5, 0]), UsageError, "strictly"),
        (lambda: sample_ddim(denoise_points, X, SCHEDULE, [0, 5]), UsageError, "strictly"),
        (lambda: sample_ddim(denoise_points, X, SCHEDULE, [5, -1]), UsageError, "9 ... 0"),
        (lambda: sample_ddim(denoise_points, X, SCHEDULE, [5], eta=-1), UsageError, "eta is -1"),
        (lambda: last(sample_euler(lambda x, s: x[:1], X, [1, 0])), ShapeError, r"\(1, 2\)"),
        (lambda: last(sample_euler(lambda x, s: None, X, [1, 0])), ShapeError, "NoneType"),
    ],
)
def test_bad_input_is_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()
