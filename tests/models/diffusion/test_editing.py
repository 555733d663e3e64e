"""Image to image and inpainting: known pixels are exact, new ones follow the known posterior."""

import itertools

import numpy as np
import pytest
from mixture import PLANE, last

import tinygen as tg
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.models.diffusion import (
    karras_sigmas,
    keep_known,
    sample_dpmpp_2m,
    sample_euler,
    sample_euler_ancestral,
    sample_heun,
    sample_repaint,
    start_from,
)

SIGMAS = karras_sigmas(12, 0.02, 20.0)


def generator(seed=0):
    return tg.random.Generator(seed)


def halve(x, sigma):
    return x * (0.25 / (0.25 + sigma**2))


# ---- image to image


@pytest.mark.parametrize(
    ("strength", "steps"), [(1.0, 12), (0.5, 6), (0.75, 9), (0.01, 1), (1e-9, 1)]
)
def test_the_start_is_the_image_with_noise_for_the_last_steps(strength, steps):
    x0, noise = (generator(i).normal((2, 3, 3, 1), "float64") for i in range(2))
    x, sigmas = start_from(x0, SIGMAS, strength, noise=noise)
    assert sigmas == SIGMAS[-1 - steps :]
    assert np.array_equal(x, x0 + sigmas[0] * noise)
    assert np.array_equal(start_from(x0, SIGMAS, strength, rng=generator(1))[0], x)


def test_the_stronger_the_further_from_the_image():
    x0 = np.tile([[1.0, 0.5]], (400, 1))
    moved = []
    for strength in (0.1, 0.4, 0.7, 1.0):
        x = last(sample_heun(PLANE.denoise, *start_from(x0, SIGMAS, strength, rng=generator()))).x
        moved.append(np.square(x - x0).sum(axis=1).mean())
    assert moved[0] < moved[1] < moved[2] < moved[3]
    assert moved[0] <= 0.01
    # at full strength the image is forgotten: samples have the mixture's mean
    mean = PLANE.weights @ PLANE.means
    assert (abs(x.mean(axis=0) - mean) <= 5 * x.std(axis=0) / 20 + 0.02).all()


# ---- inpainting


def scenes(dtype):
    x = 20 * generator().normal((3, 4, 4, 2), dtype)
    known = generator("known").normal((3, 4, 4, 2), dtype)
    mask = generator("mask").uniform((4, 4, 1)) < 0.5  # broadcast over examples and channels
    return x, known, mask


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "sampler", [sample_euler, sample_euler_ancestral, sample_heun, sample_dpmpp_2m]
)
def test_known_pixels_are_exact_with_every_sampler(sampler, dtype):
    x, known, mask = scenes(dtype)
    denoise = keep_known(halve, known, mask)
    step = last(sampler(denoise, x, SIGMAS, rng=generator()))
    kept = np.broadcast_to(mask, x.shape)
    assert step.x.dtype == dtype
    assert np.array_equal(step.x[kept], known[kept])
    assert not (step.x[~kept] == known[~kept]).any()


def test_known_pixels_carry_their_own_noise_down():
    """At every level they are known + sigma noise, with the noise they began with."""
    x, known, mask = scenes("float64")
    kept = np.broadcast_to(mask, x.shape)
    noise = (x - known) / SIGMAS[0]
    for step in sample_heun(keep_known(halve, known, mask), x, SIGMAS):
        expected = known + step.sigma * noise
        assert np.allclose(step.x[kept], expected[kept], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("repeats", [1, 3])
def test_repaint_keeps_known_pixels_exactly(repeats, dtype):
    x, known, mask = scenes(dtype)
    asked = []

    def denoise(x, sigma):
        asked.append(sigma)
        return halve(x, sigma)

    steps = list(sample_repaint(denoise, x, known, mask, SIGMAS, repeats=repeats, rng=generator()))
    kept = np.broadcast_to(mask, x.shape)
    assert [s.sigma for s in steps] == SIGMAS[1:]
    assert len(asked) == 11 * repeats + 1  # the last step, to 0, is made once
    assert steps[-1].x.dtype == dtype
    assert np.array_equal(steps[-1].x[kept], known[kept])
    assert not (steps[-1].x[~kept] == known[~kept]).any()
    tensors = sample_repaint(
        denoise, tg.tensor(x), known, mask, SIGMAS, repeats=repeats, rng=generator()
    )
    assert np.array_equal(last(tensors).x.numpy(), steps[-1].x)


def test_repaint_noises_known_pixels_to_the_level_that_was_reached():
    x, known, mask = scenes("float64")
    kept = np.broadcast_to(mask, x.shape)
    noise = list(generator(9).normal((22, *x.shape), "float64"))
    steps = list(sample_repaint(halve, x, known, mask, SIGMAS, repeats=1, noise=noise))
    for step in steps[:-1]:  # two draws a step: the new pixels', then the known ones'
        expected = known + step.sigma * noise[2 * step.step + 1]
        assert np.array_equal(step.x[kept], expected[kept])


MEAN = np.array([0.3, -0.2])
COVARIANCE = np.array([[1.0, 0.9], [0.9, 1.0]])
KNOWN = 1.5


def correlated(x, sigma):
    """E[x0 | x] of a Gaussian whose second coordinate follows the first."""
    return MEAN + (x - MEAN) @ np.linalg.solve(COVARIANCE + sigma**2 * np.eye(2), COVARIANCE)


def moments_of_the_unknown(repeats, n=40):
    """Exact mean and variance of the second coordinate, the first being known: everything is affine
    in the start and the draws, so one row of the batch for each tells its weight."""
    sigmas = karras_sigmas(n, 0.02, 20.0)
    draws = (n - 1) * (3 * repeats - 1)
    x = np.zeros((2 * draws + 3, 2))
    x[1, 0] = x[2, 1] = 1.0
    known = np.full_like(x, KNOWN)

    def noise():
        for k in range(draws):
            unit = np.zeros_like(x)
            unit[3 + 2 * k, 0] = unit[4 + 2 * k, 1] = 1.0
            yield unit

    mask = np.array([True, False])
    end = last(
        sample_repaint(correlated, x, known, mask, sigmas, repeats=repeats, noise=noise())
    ).x[:, 1]
    weights = end[1:] - end[0]
    weights[:2] *= 20.0
    return end[0], np.square(weights).sum()


def test_repeats_bring_the_new_pixels_to_their_posterior():
    """E[x2 | x1] = m2 + 0.9 (x1 - m1) and variance 0.19: plain replacement falls far short of that
    mean (0.5 for 0.88), and each doubling of the repeats comes much closer."""
    truth = MEAN[1] + 0.9 * (KNOWN - MEAN[0])
    errors = []
    for repeats in (1, 2, 4, 8, 16):
        mean, variance = moments_of_the_unknown(repeats)
        errors.append(truth - mean)
    assert errors[0] >= 0.3
    for before, after in itertools.pairwise(errors):
        assert 0 < after <= 0.75 * before
    assert errors[-1] <= 0.03
    assert abs(variance - 0.19) <= 0.05


X = np.ones((2, 3), "float32")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: start_from(X, SIGMAS, 0.0, rng=generator()), UsageError, "strength is 0.0"),
        (lambda: start_from(X, SIGMAS, 1.1, rng=generator()), UsageError, "strength is 1.1"),
        (lambda: start_from(X, SIGMAS, 0.5), UsageError, "rng"),
        (lambda: start_from(X, SIGMAS[:-1], 0.5, rng=generator()), UsageError, "last of sigmas"),
        (lambda: keep_known(halve, X, X), DtypeError, "boolean"),
        (
            lambda: sample_repaint(halve, X, X, X > 0, SIGMAS, repeats=0, rng=generator()),
            UsageError,
            "repeats is 0",
        ),
        (lambda: sample_repaint(halve, X, X, X > 0, SIGMAS), UsageError, "rng"),
        (
            lambda: sample_repaint(halve, X, X[:1], X > 0, SIGMAS, rng=generator()),
            ShapeError,
            "one shape",
        ),
        (lambda: sample_repaint(halve, X, X, X, SIGMAS, rng=generator()), DtypeError, "boolean"),
    ],
)
def test_bad_input_is_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()
