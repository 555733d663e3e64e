"""Coverage, copies and modes, on sets where each number is known."""

import math

import numpy as np
import pytest

from tinygen.data.synthetic import grid, ring
from tinygen.errors import ShapeError, UsageError
from tinygen.evaluation import coverage, memorisation, modes_found
from tinygen.evaluation.neighbours import distances, kth_distance, nearest
from tinygen.random import Generator


def normal(n: int, d: int, seed: int = 0) -> np.ndarray:
    return Generator(seed).normal((n, d), "float64")


def test_distances_are_euclidean_and_the_own_one_is_left_out() -> None:
    x, y = normal(9, 4), normal(6, 4, 1)
    truth = np.array([[math.dist(a, b) for b in y] for a in x])
    np.testing.assert_allclose(distances(x, y), truth, rtol=1e-7)
    np.testing.assert_allclose(nearest(x, y), truth.min(axis=1), rtol=1e-7)
    line = np.array([[0.0], [1.0], [3.0], [7.0]])
    assert kth_distance(line, 1).tolist() == [1, 1, 2, 4]
    assert kth_distance(line, 2).tolist() == [3, 2, 3, 6]


def test_samples_of_the_same_law_cover_it() -> None:
    c = coverage(normal(800, 3), normal(800, 3, 1))
    assert min(c.precision, c.recall, c.coverage) > 0.9
    assert c.density == pytest.approx(1, abs=0.1)


def test_a_dropped_mode_lowers_recall_and_coverage_and_noise_lowers_precision() -> None:
    real = normal(600, 2)
    real[:300] += 20
    one_mode = normal(600, 2, 1)
    c = coverage(real, one_mode)
    assert c.precision > 0.9
    assert c.recall == pytest.approx(0.5, abs=0.06)
    assert c.coverage < 0.55
    scattered = normal(600, 2, 2) * 30
    c = coverage(real, scattered)
    assert c.precision < 0.3


def test_far_samples_reach_nothing() -> None:
    c = coverage(normal(50, 2), normal(50, 2, 1) + 1000)
    assert (c.precision, c.density, c.coverage, c.recall) == (0, 0, 0, 0)


def test_copies_are_found_and_strangers_are_not() -> None:
    train, held_out = normal(500, 8), normal(300, 8, 1)
    assert memorisation(train, held_out, normal(300, 8, 2)).copies < 0.05
    copied = normal(300, 8, 3)
    copied[:90] = train[:90] + 1e-3
    found = memorisation(train, held_out, copied)
    assert found.copies == pytest.approx(0.3, abs=0.05)
    assert found.sample_median < found.held_out_median * 1.1


@pytest.mark.parametrize("truth", [ring(), grid()])
def test_exact_samples_find_every_mode(truth) -> None:
    found = modes_found(truth.sample(2500, Generator(0)), truth.centres, truth.std)
    assert found.found == found.modes == len(truth.centres)
    assert found.on_mode > 0.998  # 1 - e^-8 of them
    assert found.kl < 0.02


def test_a_collapse_is_counted_and_a_stray_sample_finds_nothing() -> None:
    truth = ring()
    points = truth.centres[0] + truth.std * normal(1000, 2)
    points[0] = truth.centres[3]
    found = modes_found(points, truth.centres, truth.std)
    assert found.found == 1
    assert found.kl == pytest.approx(math.log(8), abs=0.02)
    nowhere = modes_found(np.full((10, 2), 50.0), truth.centres, truth.std)
    assert (nowhere.found, nowhere.on_mode) == (0, 0.0)
    assert nowhere.kl == pytest.approx(math.log(8))
    assert "1/8 modes" in str(found)


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(ShapeError):
        modes_found(np.zeros((3, 2)), np.zeros((2, 3)), 1.0)
    with pytest.raises(UsageError):
        modes_found(np.zeros((0, 2)), np.zeros((2, 2)), 1.0)
    with pytest.raises(UsageError):
        coverage(normal(5, 2), normal(5, 2), k=5)
    with pytest.raises(UsageError, match=r"k is 2\.5"):
        coverage(normal(5, 2), normal(5, 2), k=2.5)
    with pytest.raises(ShapeError):
        distances(normal(5, 2), normal(5, 3))
    with pytest.raises(UsageError, match="NaN"):
        memorisation(normal(5, 2), normal(5, 2), np.full((5, 2), math.nan))
    with pytest.raises(ShapeError, match="empty"):
        memorisation(normal(5, 2), normal(0, 2), normal(5, 2))
