"""What every sampler promises (its steps, kinds of arrays, randomness) and what it refuses."""

import itertools
import math

import numpy as np
import pytest
from mixture import GAUSSIAN, PLANE, last
from samplers import BY_SIGMA

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


def generator(seed=0):
    return tg.random.Generator(seed)


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
