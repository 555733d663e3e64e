"""The planar sets: density and samples belong together, and the modes are where they are said."""

import math

import numpy as np
import pytest

from tinygen.data.synthetic import PLANAR, checkerboard, grid, moons, ring, spirals
from tinygen.errors import ShapeError, UsageError
from tinygen.random import Generator


def wide(name):
    """The set with modes or curves wide enough for a grid of 0.02."""
    kinds = {
        "ring": lambda: ring(std=0.1),
        "grid": lambda: grid(std=0.1),
        "moons": lambda: moons(std=0.2),
        "spirals": lambda: spirals(std=0.25),
    }
    return kinds.get(name, PLANAR[name])()


def lattice(extent: float, n: int):
    ticks = (np.arange(n) + 0.5) * (2 * extent / n) - extent
    x, y = np.meshgrid(ticks, ticks)
    return np.stack([x.ravel(), y.ravel()], axis=1), (2 * extent / n) ** 2


@pytest.mark.parametrize("name", PLANAR)
@pytest.mark.parametrize(("scale", "noise_std"), [(1.0, 0.0), (0.7, 0.4)])
def test_the_density_integrates_to_one(name, scale, noise_std):
    """By the midpoint rule, which is exact to rounding for Gaussians wider than a step."""
    data = wide(name)
    points, area = lattice(1.28 * data.extent + 4 * noise_std, 160)
    if name == "checkerboard" and not noise_std:  # edges must fall between the squares' cells
        points, area = lattice(5.0, 100)
    total = np.exp(data.log_density(points, scale=scale, noise_std=noise_std)).sum() * area
    assert abs(total - 1) <= 1e-5


@pytest.mark.parametrize("name", PLANAR)
@pytest.mark.parametrize("noise_std", [0.0, 0.3])
def test_samples_have_that_density(name, noise_std):
    """Chi-squared of 20,000 draws in the cells of a lattice, against the integrated density."""
    data, n, side, fine = wide(name), 20_000, 12, 12
    extent = data.extent + 4 * noise_std
    x = data.sample(n, Generator(1), "float64")
    assert x.shape == (n, 2)
    x = x + noise_std * Generator(2).normal((n, 2), "float64")
    points, area = lattice(extent, side * fine)
    density = np.exp(data.log_density(points, noise_std=noise_std))
    cells = density.reshape(side, fine, side, fine).sum((1, 3)) * area  # [y, x]
    edges = np.linspace(-extent, extent, side + 1)
    counts = np.histogram2d(x[:, 1], x[:, 0], bins=[edges, edges])[0]
    expected = n * cells / cells.sum()
    many = expected >= 5
    assert counts[many].sum() >= 0.9 * n
    chi2 = ((counts[many] - expected[many]) ** 2 / expected[many]).sum()
    degrees = many.sum()
    slack = 1.0 if name != "checkerboard" or noise_std else 3.0  # cells cut by the sharp edges
    assert chi2 <= slack * (degrees + 6 * math.sqrt(2 * degrees))


@pytest.mark.parametrize("name", ["moons", "spirals"])
def test_the_quadrature_of_a_curve_has_converged(name):
    data = PLANAR[name]()
    finer = type(data)(data.curve, data.arms, data.std, 3 * data.panels, data.extent, data.power)
    x = data.sample(40, Generator(0), "float64")
    x[:10] += 3 * data.std  # and off the curve
    for noise_std in (0.0, 0.1, 1.0):
        ours, truth = (d.log_density(x, noise_std=noise_std) for d in (data, finer))
        assert (np.abs(ours - truth) <= 1e-9).all()
        ours, truth = (d.denoise(x, noise_std=noise_std) for d in (data, finer))
        assert (np.abs(ours - truth) <= 1e-9).all()


@pytest.mark.parametrize("name", ["moons", "spirals"])
def test_the_score_of_a_curve_is_the_slope_of_its_density(name):
    data, h = PLANAR[name](), 1e-5
    x = data.sample(20, Generator(3), "float64")
    score = data.score(x, scale=0.9, noise_std=0.2)
    for i, step in enumerate(h * np.eye(2)):
        up, down = (data.log_density(x + d, scale=0.9, noise_std=0.2) for d in (step, -step))
        assert (np.abs((up - down) / (2 * h) - score[:, i]) <= 1e-5 * (1 + abs(score[:, i]))).all()


def test_points_stand_evenly_along_a_spiral():
    """Of uniform points along an arm, a share (r / R)^2 lies within r (outside the first turn)."""
    x, arm = spirals(std=1e-6).sample_labelled(20_000, Generator(0), "float64")
    r = np.hypot(x[:, 0], x[:, 1]) / 2
    for share in (0.3, 0.5, 0.8):
        assert abs((r <= math.sqrt(share)).mean() - share) <= 6 * math.sqrt(0.25 / 20_000)
    assert abs(arm.mean() - 0.5) <= 6 * math.sqrt(0.25 / 20_000)


def test_modes_are_where_they_are_said():
    for data, k, nearest in ((ring(), 8, 4 * math.sin(math.pi / 8)), (grid(), 25, 2.0)):
        assert data.centres.shape == (k, 2)
        gaps = np.linalg.norm(data.centres[:, None] - data.centres, axis=2) + 9 * np.eye(k)
        assert abs(gaps.min() - nearest) <= 1e-12
        x, mode = data.sample_labelled(5000, Generator(0))
        away = np.linalg.norm(x - data.centres[mode], axis=1)
        assert (away <= 6 * data.std).all()
        assert abs((away**2).mean() / (2 * data.std**2) - 1) <= 6 / math.sqrt(5000)
        assert set(mode) == set(range(k))
    assert (ring().std, grid().std) == (0.02, 0.05)
    np.testing.assert_array_equal(np.unique(grid().centres), [-4, -2, 0, 2, 4])


def test_the_board_is_dark_at_its_lower_left_and_light_beside_it():
    board = checkerboard()
    dark, light, outside = board.log_density([[-3.5, -3.5], [-1.5, -3.5], [4.5, 0.0]])
    assert abs(dark + math.log(8 * 2 * 2)) <= 1e-15
    assert light == outside == -math.inf
    far = board.log_density([[12.0, -3.0], [-12.0, 3.0]], noise_std=1.0)
    assert np.isfinite(far).all()
    assert abs(far[0] - far[1]) <= 1e-9  # point symmetry of a board with an even side


def test_equal_seeds_draw_equal_points_and_no_other_state_does():
    for make in PLANAR.values():
        first, again, other = (make().sample(7, Generator(seed)) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert first.dtype == np.float32
        assert (first != other).any()
        assert make().sample(0, Generator(0)).shape == (0, 2)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: ring(modes=0), UsageError),
        (lambda: grid(side=0), UsageError),
        (lambda: grid(side=2.5), UsageError),
        (lambda: grid(spacing=math.nan), UsageError),
        (lambda: ring(std=0.0), UsageError),
        (lambda: ring(modes="a"), UsageError),
        (lambda: ring(radius=math.inf), UsageError),
        (lambda: spirals(turns=math.inf), UsageError),
        (lambda: checkerboard(side=2.5), UsageError),
        (lambda: moons(std=math.nan), UsageError),
        (lambda: spirals(turns=0), UsageError),
        (lambda: checkerboard(side=0), UsageError),
        (lambda: checkerboard(half_width=math.inf), UsageError),
        (lambda: checkerboard().log_density([1.0, 2.0]), ShapeError),
        (lambda: checkerboard().log_density([[1.0, 2.0]], scale=0.0), UsageError),
        (lambda: moons().log_density([[1.0, 2.0, 3.0]]), ShapeError),
    ],
)
def test_what_cannot_be_is_refused(call, error):
    with pytest.raises(error):
        call()
