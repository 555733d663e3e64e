"""The closed forms of a Gaussian mixture, each against another way to the same number."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygen.data.synthetic import GaussianMixture
from tinygen.errors import OutOfRangeError, ShapeError, UsageError
from tinygen.random import Generator

LEVELS = [(1.0, 0.0), (1.0, 0.3), (0.6, 0.8), (0.05, 1.0), (1.0, 20.0)]


def drawn(seed: int, k: int, d: int, *, full: bool) -> GaussianMixture:
    rng = Generator(seed)
    means, weights = 2 * rng.normal((k, d), "float64"), rng.uniform(k, 0.1, 1.0, "float64")
    if not full:
        return GaussianMixture.isotropic(means, rng.uniform(k, 0.3, 1.0, "float64"), weights)
    factor = rng.normal((k, d, d), "float64")
    return GaussianMixture.full(means, factor @ factor.swapaxes(1, 2) + 0.1 * np.eye(d), weights)


def covariances(mixture: GaussianMixture) -> np.ndarray:
    axes = np.eye(mixture.dim)[None] if mixture.axes is None else mixture.axes
    return (axes * mixture.variances[:, None, :]) @ axes.swapaxes(1, 2)


def by_hand(mixture: GaussianMixture, x: np.ndarray, a: float, s: float) -> float:
    """log p of one point, by inverting and taking determinants."""
    total = 0.0
    for w, mean, matrix in zip(mixture.weights, mixture.means, covariances(mixture), strict=True):
        c = a * a * matrix + s * s * np.eye(mixture.dim)
        u = x - a * mean
        density = math.exp(-0.5 * u @ np.linalg.inv(c) @ u)
        total += w * density / math.sqrt(np.linalg.det(2 * math.pi * c))
    return math.log(total)


mixtures = st.builds(
    drawn, st.integers(0, 999), st.integers(1, 5), st.integers(1, 4), full=st.booleans()
)


@given(mixtures, st.sampled_from(LEVELS), st.integers(0, 99))
def test_density_is_that_of_the_textbook(mixture, level, seed):
    a, s = level
    x = mixture.diffused(a, s).sample(3, Generator(seed), "float64")
    found = mixture.log_density(x, scale=a, noise_std=s)
    expected = [by_hand(mixture, point, a, s) for point in x]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(mixture.diffused(a, s).log_density(x), found, rtol=1e-12, atol=1e-12)


@given(mixtures, st.sampled_from(LEVELS), st.integers(0, 99))
def test_score_is_the_finite_difference_of_the_density(mixture, level, seed):
    a, s = level
    x = mixture.diffused(a, s).sample(2, Generator(seed), "float64")
    score = mixture.score(x, scale=a, noise_std=s)
    h = 1e-4 * math.sqrt(a * a * mixture.variances.min() + s * s)  # of the narrowest width
    for i in range(mixture.dim):
        step = h * np.eye(mixture.dim)[i]

        def slope(k, step=step):
            up, down = (
                mixture.log_density(x + d * k * step, scale=a, noise_std=s) for d in (1, -1)
            )
            return (up - down) / (2 * k * h)

        richardson = (4 * slope(1) - slope(2)) / 3
        bound = 1e-6 * (1 + np.abs(score).max())
        assert (np.abs(richardson - score[:, i]) <= bound).all()


@given(mixtures, st.sampled_from(LEVELS[1:]), st.integers(0, 99))
def test_denoiser_and_score_obey_tweedie(mixture, level, seed):
    """E[x0 | xt] = (xt + s^2 score) / a."""
    a, s = level
    x = mixture.diffused(a, s).sample(4, Generator(seed), "float64")
    tweedie = (x + s * s * mixture.score(x, scale=a, noise_std=s)) / a
    found = mixture.denoise(x, scale=a, noise_std=s)
    scale = (np.abs(x).max() + s * s) / a
    assert (np.abs(found - tweedie) <= 1e-11 * (1 + scale)).all()


@given(st.integers(0, 99), st.booleans())
@settings(max_examples=10)
def test_denoiser_is_the_posterior_mean_by_quadrature(seed, full):
    """One dimension: the integral of x0 p(x0) p(xt | x0) over a fine grid."""
    mixture = drawn(seed, 3, 1, full=full)
    grid = np.linspace(-30, 30, 60_001)
    prior = np.exp(mixture.log_density(grid[:, None]))
    for a, s in LEVELS[1:4]:
        for xt in mixture.diffused(a, s).sample(3, Generator(seed), "float64"):
            joint = prior * np.exp(-0.5 * ((xt - a * grid) / s) ** 2)
            mean = (grid * joint).sum() / joint.sum()
            found = mixture.denoise(xt[None], scale=a, noise_std=s)[0, 0]
            assert abs(found - mean) <= 1e-9 * (1 + abs(mean))


@given(mixtures, st.integers(0, 99))
def test_each_point_may_have_its_own_noise_level(mixture, seed):
    rng = Generator(seed)
    x = rng.normal((5, mixture.dim), "float64")
    a, s = rng.uniform(5, 0.1, 1.0, "float64"), rng.uniform(5, 0.1, 2.0, "float64")
    for call in (mixture.log_density, mixture.score, mixture.denoise, mixture.responsibilities):
        together = call(x, scale=a, noise_std=s)
        alone = [call(x[i : i + 1], scale=a[i], noise_std=s[i])[0] for i in range(5)]
        np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-12)


def test_blocks_of_rows_change_nothing(monkeypatch):
    mixture = drawn(3, 4, 3, full=True)
    x = Generator(0).normal((23, 3), "float64")
    whole = mixture.denoise(x, noise_std=0.5)
    monkeypatch.setattr("tinygen.data.synthetic.mixture._ELEMENTS", 60)  # five rows at a time
    np.testing.assert_array_equal(mixture.denoise(x, noise_std=0.5), whole)
    assert mixture.denoise(x[:0], noise_std=0.5).shape == (0, 3)


@pytest.mark.parametrize("full", [True, False])
def test_draws_have_the_moments_of_the_mixture(full):
    """Mean and covariance of 40,000 draws, each entry within 6 standard errors."""
    mixture, n = drawn(7, 3, 3, full=full), 40_000
    x, k = mixture.sample_labelled(n, Generator(0), "float64")
    error = np.sqrt(np.diag(mixture.covariance) / n)
    assert (np.abs(x.mean(0) - mixture.mean) <= 6 * error).all()
    centred = x - mixture.mean
    products = centred[:, :, None] * centred[:, None, :]
    error = products.std(0) / math.sqrt(n)
    assert (np.abs(products.mean(0) - mixture.covariance) <= 6 * error).all()
    share = np.bincount(k, minlength=3) / n
    p = mixture.weights
    assert (np.abs(share - p) <= 6 * np.sqrt(p * (1 - p) / n)).all()
    for c in range(3):  # each label is the component that the point was drawn from
        own = x[k == c] - mixture.means[c]
        limit = 6 * np.sqrt(np.diag(covariances(mixture)[c % len(covariances(mixture))]))
        assert (np.abs(own.mean(0)) <= limit / math.sqrt(len(own))).all()


def test_point_masses_are_a_data_set():
    """Without noise each point denoises to itself; with much, to the mean of all."""
    points = np.array([[0.0, 0.0], [1.0, 0.0], [5.0, 5.0]])
    data = GaussianMixture.isotropic(points, 0.0)
    np.testing.assert_allclose(data.denoise(points, noise_std=0.01), points, atol=1e-12)
    np.testing.assert_allclose(data.denoise(points, noise_std=1e9), [points.mean(0)] * 3)
    assert set(map(tuple, data.sample(20, Generator(1)))) <= set(map(tuple, points))
    with pytest.raises(UsageError, match="zero width"):
        data.log_density(points)


def test_components_are_the_conditional_distribution():
    mixture = drawn(5, 4, 2, full=True)
    x = Generator(0).normal((6, 2), "float64")
    joint = mixture.responsibilities(x) * np.exp(mixture.log_density(x))[:, None]
    for chosen in (2, [0, 3]):
        own = mixture.components(chosen)
        k = np.atleast_1d(chosen)
        expected = joint[:, k].sum(1) / mixture.weights[k].sum()
        np.testing.assert_allclose(np.exp(own.log_density(x)), expected, rtol=1e-12)


def test_far_away_nothing_overflows():
    mixture = drawn(1, 3, 2, full=False)
    x = np.array([[1e8, -1e8], [1e150, 0.0]])
    for call in (mixture.log_density, mixture.score, mixture.denoise):
        assert np.isfinite(call(x, noise_std=1.0)).all()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: GaussianMixture.isotropic([1.0, 2.0], 1.0), ShapeError, r"\(K, D\)"),
        (lambda: GaussianMixture.isotropic([[1.0]], [1.0, 2.0]), ShapeError, "std of shape"),
        (lambda: GaussianMixture.isotropic([[1.0]], -1.0), UsageError, "at least 0"),
        (lambda: GaussianMixture.isotropic([[1.0]], math.nan), UsageError, "finite"),
        (lambda: GaussianMixture.isotropic([[1.0]], 1.0, [0.0]), UsageError, "not all 0"),
        (lambda: GaussianMixture.isotropic([[1.0]], 1.0, [1.0, 1.0]), ShapeError, "1 components"),
        (lambda: GaussianMixture.full([[1.0]], [[1.0]]), ShapeError, "covariances of shape"),
        (lambda: GaussianMixture.full([[0.0, 0.0]], [[[1, 2], [0, 1]]]), UsageError, "symmetric"),
        (lambda: GaussianMixture.full([[0.0, 0.0]], [[[1, 2], [2, 1]]]), UsageError, "eigenvalue"),
        (lambda: drawn(0, 2, 2, full=True).score([[1.0]]), ShapeError, r"\(n, 2\)"),
        (lambda: drawn(0, 2, 1, full=True).score([[1.0]], scale=[1, 2]), ShapeError, "noise_std"),
        (lambda: drawn(0, 2, 1, full=True).components(2), OutOfRangeError, "of 2"),
        (lambda: drawn(0, 2, 1, full=True).components([]), UsageError, "component numbers"),
    ],
)
def test_what_cannot_be_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
