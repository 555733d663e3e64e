"""Distances of two sets: closed forms, symmetry, zero for equal laws, and the order in which damage
is felt."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygen.errors import ShapeError, UsageError
from tinygen.evaluation import (
    bits_per_dimension,
    energy_distance,
    frechet_distance,
    gaussian_fit,
    kernel_distance,
)
from tinygen.random import Generator

DISTANCES = [energy_distance, frechet_distance, kernel_distance]


def normal(n: int, d: int, seed: int = 0, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    return shift + scale * Generator(seed).normal((n, d), "float64")


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(0, 99), st.floats(0.2, 3), st.floats(-2, 2))
def test_frechet_is_the_wasserstein_distance_of_the_two_gaussians(
    d: int, seed: int, scale: float, shift: float
) -> None:
    """For y = scale x + shift the covariances commute: |shift|^2 d + (scale - 1)^2 tr C, exactly,
    plus what the means of x move."""
    x = normal(50 + d, d, seed)
    y = scale * x + shift
    gap = y.mean(axis=0) - x.mean(axis=0)
    truth = gap @ gap + (scale - 1) ** 2 * np.trace(np.atleast_2d(np.cov(x, rowvar=False)))
    assert frechet_distance(x, y) == pytest.approx(truth, rel=1e-7, abs=1e-7)
    assert frechet_distance(y, x) == pytest.approx(truth, rel=1e-7, abs=1e-7)


def test_frechet_of_features_that_never_vary_is_finite() -> None:
    x = np.zeros((30, 4))
    x[:, 0] = normal(30, 1)[:, 0]
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x + 1) == pytest.approx(4)


def test_the_kernel_distance_is_its_definition() -> None:
    x, y = normal(7, 3), normal(5, 3, 1)

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a @ b) / 3 + 1) ** 3

    within_x = sum(k(x[i], x[j]) for i in range(7) for j in range(7) if i != j) / (7 * 6)
    within_y = sum(k(y[i], y[j]) for i in range(5) for j in range(5) if i != j) / (5 * 4)
    across = sum(k(a, b) for a in x for b in y) / 35
    assert kernel_distance(x, y) == pytest.approx(within_x + within_y - 2 * across, rel=1e-10)


def test_the_energy_distance_is_its_definition() -> None:
    x, y = normal(7, 3), normal(5, 3, 1)

    def mean(a: np.ndarray, b: np.ndarray, pairs: int) -> float:
        return sum(math.dist(p, q) for p in a for q in b) / pairs

    truth = 2 * mean(x, y, 35) - mean(x, x, 42) - mean(y, y, 20)
    assert energy_distance(x, y) == pytest.approx(truth, rel=1e-7)


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_distance_is_small_for_one_law_and_grows_with_the_gap(distance) -> None:
    x = normal(1500, 3, 1)
    same = distance(x, normal(1500, 3, 2))
    gaps = [distance(x, normal(1500, 3, 2, shift=shift)) for shift in (0.3, 0.6, 1.2)]
    assert abs(same) < gaps[0] / 5
    assert gaps == sorted(gaps)


@pytest.mark.parametrize("distance", DISTANCES)
def test_what_cannot_be_compared_is_refused(distance) -> None:
    with pytest.raises(ShapeError):
        distance(normal(5, 3), normal(5, 2))
    with pytest.raises(ShapeError):
        distance(normal(1, 3), normal(5, 3))
    with pytest.raises(ShapeError):
        distance(normal(0, 3), normal(5, 3))


def test_samples_that_are_no_numbers_are_refused() -> None:
    broken = normal(5, 3)
    broken[2, 1] = math.nan
    with pytest.raises(UsageError, match="NaN"):
        frechet_distance(normal(5, 3), broken)


def test_a_gaussian_fit_has_the_mean_and_covariance() -> None:
    x = Generator(0).uniform((4000, 2, 2, 1), dtype="float64")
    x[:, 0, 0] = x[:, 1, 1]  # a covariance that is singular
    fit = gaussian_fit(x, 20000, Generator(1))
    assert fit.shape == (20000, 2, 2, 1)
    np.testing.assert_allclose(fit.mean(axis=0), x.mean(axis=0), atol=0.02)
    a, b = (np.cov(v.reshape(len(v), -1), rowvar=False) for v in (fit, x))
    np.testing.assert_allclose(a, b, atol=0.01)


def test_bits_of_a_dimension() -> None:
    assert bits_per_dimension(64 * math.log(2), 64) == pytest.approx(1.0)
    assert bits_per_dimension(0.0, 3) == 0.0
