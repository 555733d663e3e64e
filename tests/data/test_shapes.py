"""Shapes: numbering, and pictures that show what their factors say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.data.synthetic import Shapes
from tinygen.errors import OutOfRangeError, ShapeError, UsageError
from tinygen.random import Generator


@given(st.lists(st.integers(0, len(Shapes()) - 1), max_size=8))
def test_numbers_and_factors_are_inverse(index):
    shapes = Shapes()
    factors = shapes.factors_of(np.array(index, np.int64))
    np.testing.assert_array_equal(shapes.index_of(factors), index)


def test_numbering_is_that_of_dsprites():
    assert len(Shapes()) == 737_280
    assert Shapes().factors_of([0, 1, 32, 1024, 40_960, 245_760]).tolist() == [
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 1, 0],
        [0, 0, 1, 0, 0],
        [0, 1, 0, 0, 0],
        [1, 0, 0, 0, 0],
    ]


def weight(image):
    return image.sum() / 255


def centre(image):
    """(x, y) of the centre of mass, in pixels from the middle of the picture."""
    n = image.shape[0]
    ticks = np.arange(n) + 0.5 - n / 2
    plane = image[:, :, 0] / image.sum()
    return np.array([plane.sum(0) @ ticks, plane.sum(1) @ ticks])


@pytest.mark.parametrize("size", [16, 28, 64])
def test_area_and_place_follow_from_the_factors(size):
    """Square 2 r^2, ellipse pi r^2 / 2; and every pixel within the circle of radius r."""
    shapes = Shapes(size)
    factors = shapes.sample(60, Generator(0))[1]
    for image, (kind, scale, _, x, y) in zip(shapes.render(factors), factors, strict=True):
        r = 0.4 * (0.5 + 0.1 * scale) * size / 2
        if kind < 2:
            area = (2 * r * r, np.pi * r * r / 2)[kind]
            assert abs(weight(image) - area) <= 0.05 * 2 * np.pi * r + 0.5
            place = (-0.55 + 1.1 * np.array([x, y]) / 31) * size / 2
            assert (np.abs(centre(image) - place) <= 0.15).all()
        inside = np.argwhere(image[:, :, 0])  # and within its circle, a pixel's diagonal aside
        place = (-0.55 + 1.1 * np.array([y, x]) / 31) * size / 2 + size / 2
        assert (np.linalg.norm(inside + 0.5 - place, axis=1) <= r + 0.75).all()


def test_each_factor_does_what_it_says():
    shapes = Shapes(64)
    base = np.array([2, 2, 0, 16, 16])
    for factor, move in ((3, [1, 0]), (4, [0, 1])):  # x to the right, y downwards
        further = base.copy()
        further[factor] += 8
        a, b = shapes.render(np.stack([base, further]))
        step = (centre(b) - centre(a)) / (8 * 1.1 / 31 * 32)
        np.testing.assert_allclose(step, move, atol=0.02)
    small, large = shapes.render(np.stack([base, base + 3 * np.eye(5, dtype=int)[1]]))
    assert abs(weight(large) / weight(small) - (1.0 / 0.7) ** 2) <= 0.05
    heart = shapes.render(base[None])[0, :, :, 0]
    rows = np.flatnonzero(heart.any(1))
    assert heart[rows[0] + 2].astype(int).sum() > 2 * heart[rows[-1] - 2].astype(int).sum()


def test_a_quarter_turn_is_a_quarter_turn():
    """At a centred place, ten steps of 40 turn the picture anticlockwise by 90 degrees."""

    class Centred(Shapes):
        def _place(self, k):
            return np.zeros(k.shape, np.float32)

    for kind in range(3):
        a, b = Centred(32).render([[kind, 5, 3, 0, 0], [kind, 5, 13, 0, 0]])
        assert np.abs(np.rot90(a[:, :, 0].astype(int)) - b[:, :, 0]).max() <= 255 / 16


def test_a_square_has_four_turns_and_an_ellipse_two():
    shapes = Shapes(32)
    square = shapes.render([[0, 3, k, 7, 9] for k in (4, 14, 24)]).astype(int)
    ellipse = shapes.render([[1, 3, k, 7, 9] for k in (4, 14, 24)]).astype(int)
    for images, same in ((square, [1, 2]), (ellipse, [2])):
        for k in same:
            assert np.abs(images[k] - images[0]).max() <= 255 / 16
    assert np.abs(ellipse[1] - ellipse[0]).max() == 255


def test_blocks_of_pictures_change_nothing(monkeypatch):
    shapes, factors = Shapes(16), Shapes(16).sample(11, Generator(0))[1]
    whole = shapes.render(factors)
    assert (whole.dtype, whole.shape) == (np.uint8, (11, 16, 16, 1))
    monkeypatch.setattr("tinygen.data.synthetic.shapes._POINTS", 2 * 64 * 64)
    np.testing.assert_array_equal(shapes.render(factors), whole)
    assert shapes.render(factors[:0]).shape == (0, 16, 16, 1)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: Shapes(3), UsageError),
        (lambda: Shapes(math.nan), UsageError),
        (lambda: Shapes(16, samples=2.5), UsageError),
        (lambda: Shapes(16, samples=0), UsageError),
        (lambda: Shapes().render([[0, 0, 0, 0]]), ShapeError),
        (lambda: Shapes().render([[0.0, 0, 0, 0, 0]]), ShapeError),
        (lambda: Shapes().render([[3, 0, 0, 0, 0]]), OutOfRangeError),
        (lambda: Shapes().render([[0, 0, 0, 0, -1]]), OutOfRangeError),
        (lambda: Shapes().factors_of([len(Shapes())]), OutOfRangeError),
        (lambda: Shapes().factors_of([[1]]), ShapeError),
    ],
)
def test_what_cannot_be_is_refused(call, error):
    with pytest.raises(error):
        call()
