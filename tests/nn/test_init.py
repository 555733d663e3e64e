"""Initialisers: ranges, moments, orthogonality, dtype, reproducibility."""

import math
from statistics import NormalDist

import numpy as np
import pytest

import tinygen as tg
from tinygen.errors import ShapeError, UsageError
from tinygen.nn import init

SHAPE = (40, 5, 5, 30)  # a convolution: fan_in 750, fan_out 1000
DRAWN = [
    init.uniform,
    init.normal,
    init.truncated_normal,
    init.xavier_uniform,
    init.xavier_normal,
    init.kaiming_uniform,
    init.kaiming_normal,
    init.orthogonal,
]


def generator(seed=0):
    return tg.random.Generator(seed)


@pytest.mark.parametrize("initialise", DRAWN)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shape_dtype_and_reproducibility(initialise, dtype):
    first = initialise((4, 6), rng=generator(), dtype=dtype)
    again = initialise((4, 6), rng=generator(), dtype=dtype)
    assert first.shape == (4, 6)
    assert first.dtype == dtype
    assert np.array_equal(first, again)
    assert not np.array_equal(first, initialise((4, 6), rng=generator(1), dtype=dtype))


@pytest.mark.parametrize(
    ("initialise", "variance"),
    [
        (init.uniform, 1 / 12),
        (init.normal, 1),
        (init.xavier_uniform, 2 / 1750),
        (init.xavier_normal, 2 / 1750),
        (init.kaiming_uniform, 2 / 750),
        (init.kaiming_normal, 2 / 750),
    ],
)
def test_variance_is_the_one_of_the_paper(initialise, variance):
    x = initialise(SHAPE, rng=generator(), dtype="float64")
    # 30,000 draws: the variance of a sample variance is at most 2 variance^2 / n
    assert abs(x.var() / variance - 1) <= 5 * math.sqrt(2 / x.size)


def test_bounds():
    bound = math.sqrt(6 / 1750)
    x = init.xavier_uniform(SHAPE, rng=generator())
    assert 0.99 * bound < abs(x).max() <= bound
    x = init.kaiming_uniform((50, 64), math.sqrt(5), rng=generator())
    assert 0.99 / 8 < abs(x).max() <= 1 / 8
    x = init.truncated_normal((100, 100), 1.0, 0.5, bound=1.5, rng=generator())
    assert 0.7 < abs(x - 1).max() <= 0.75 + 1e-6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("initialise", [init.uniform, init.normal, init.truncated_normal])
def test_a_number_is_an_array_without_axes(initialise, dtype):
    x = initialise((), rng=generator(), dtype=dtype)
    assert type(x) is np.ndarray
    assert x.shape == ()
    assert x.dtype == dtype


@pytest.mark.parametrize("bound", [1e-6, 0.5, 1.25, 1.26, 2.0, 9.0])
def test_a_truncated_normal_has_its_distribution_and_costs_few_draws(bound):
    """Kolmogorov and Smirnov, against (P(x) - P(-b)) / (P(b) - P(-b)); no bound is too narrow."""
    n, rng = 50_000, generator()
    x = np.sort(init.truncated_normal((n,), 0.0, 1.0, bound, rng=rng, dtype="float64"))
    assert abs(x).max() <= bound
    cdf = NormalDist().cdf
    truth = (np.vectorize(cdf)(x) - cdf(-bound)) / (cdf(bound) - cdf(-bound))
    steps = np.arange(n + 1) / n
    distance = max((steps[1:] - truth).max(), (truth - steps[:-1]).max())
    assert distance <= math.sqrt(math.log(2e9) / (2 * n))  # once in 10^9 times; Massart 1990
    assert 4 * rng.block <= 4 * n


@pytest.mark.parametrize("shape", [(7, 7), (5, 12), (12, 5), (6, 3, 3, 2)])
def test_orthogonal_rows_or_columns(shape):
    x = init.orthogonal(shape, 2.0, rng=generator(), dtype="float64").reshape(shape[0], -1)
    gram = x @ x.T if x.shape[0] <= x.shape[1] else x.T @ x
    assert abs(gram - 4 * np.eye(len(gram))).max() <= 1e-13


def test_zeros_and_ones():
    assert not init.zeros((2, 3), "float64").any()
    assert init.ones((2,)).tolist() == [1, 1]


def test_a_bad_request_is_explained():
    with pytest.raises(ShapeError, match="no fan-in"):
        init.xavier_normal((3,), rng=generator())
    with pytest.raises(ShapeError, match="no fan-in"):
        init.kaiming_normal((3, 0), rng=generator())
    with pytest.raises(UsageError, match="bound is 0"):
        init.truncated_normal((3,), bound=0, rng=generator())
