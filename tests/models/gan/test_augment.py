"""Differentiable augmentation: each part by loops, identities, gradients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygen as tg
from tinygen.errors import ShapeError, UsageError
from tinygen.models.gan import DiffAugment
from tinygen.models.gan.augment import Draws, brightness, cutout, translation
from tinygen.testing import check_grad


def generator(seed=0):
    return tg.random.Generator(seed)


images = st.tuples(st.integers(0, 3), st.integers(1, 6), st.integers(1, 6), st.integers(1, 3))


def drawn(shape, seed="x"):
    return generator(f"{seed}{shape}").normal(shape, "float64")


def whole(n, low, high, seed):
    return generator(seed).integers(low, high, (n, 2))


@given(shape=images, seed=st.integers(0, 99))
def test_translation_by_loops(shape, seed):
    n, h, w, _ = shape
    x, offsets = drawn(shape), whole(n, -7, 8, seed)
    expected = np.zeros(shape)
    for i in range(n):
        for row in range(h):
            for column in range(w):
                a, b = row - offsets[i, 0], column - offsets[i, 1]
                if 0 <= a < h and 0 <= b < w:
                    expected[i, row, column] = x[i, a, b]
    assert np.array_equal(translation(x, offsets), expected)
    there_and_back = translation(translation(x, offsets), -offsets)
    assert ((there_and_back == x) | (there_and_back == 0)).all()


@given(shape=images, seed=st.integers(0, 99), rows=st.integers(0, 7), columns=st.integers(0, 7))
def test_cutout_by_loops(shape, seed, rows, columns):
    n, h, w, _ = shape
    x, corners = drawn(shape), whole(n, -3, 7, seed)
    expected = x.copy()
    for i in range(n):
        for row in range(h):
            for column in range(w):
                down, right = row - corners[i, 0], column - corners[i, 1]
                if 0 <= down < rows and 0 <= right < columns:
                    expected[i, row, column] = 0
    assert np.array_equal(cutout(x, corners, (rows, columns)), expected)


@given(shape=images)
def test_brightness_shifts_all_values_of_an_image(shape):
    x, shift = drawn(shape), drawn(shape[:1], "shift")
    assert np.array_equal(brightness(x, shift), x + shift[:, None, None, None])


@given(shape=images)
def test_identity_parameters_are_the_identity(shape):
    n, h, w, _ = shape
    x = drawn(shape)
    away = np.tile([h, w], (n, 1))  # the hole lies outside of the image
    same = Draws(np.zeros(n), np.zeros((n, 2), np.int64), away)
    assert np.array_equal(DiffAugment()(x, draws=same), x)
    assert np.array_equal(DiffAugment(0, 0, 0)(x, rng=generator()), x)
    assert DiffAugment()(x, draws=Draws(None, None, None)) is x


@settings(max_examples=8)
@given(seed=st.integers(0, 99))
def test_gradients(seed):
    x, augment = drawn((2, 4, 5, 2)), DiffAugment(cutout=0.4, translation=0.3)
    draws = augment.draw(x.shape, x.dtype, generator(seed))
    check_grad(lambda x: augment(x, draws=draws), x)
    # T is affine in x, so its derivative is the adjoint of its linear part, to the bit.
    g = generator("g").integers(-4, 5, x.shape).astype("float64")
    small = generator("s").integers(-4, 5, x.shape).astype("float64")
    linear = draws._replace(shift=None)
    leaf = tg.tensor(small, requires_grad=True)
    augment(leaf, draws=linear).backward(g)
    assert (leaf.grad.numpy() * small).sum() == (g * augment(small, draws=linear)).sum()


def test_what_is_drawn():
    shape, augment = (4000, 16, 24, 1), DiffAugment()
    draws = augment.draw(shape, "float32", generator())
    assert draws.shift.dtype == np.float32
    assert -0.5 <= draws.shift.min() < -0.49
    assert 0.49 < draws.shift.max() < 0.5
    # Up to an eighth of each side; the hole's centre is anywhere in the image.
    assert set(draws.offsets[:, 0]) == set(range(-2, 3))
    assert set(draws.offsets[:, 1]) == set(range(-3, 4))
    assert set(draws.corners[:, 0]) == set(range(-4, 12))
    assert set(draws.corners[:, 1]) == set(range(-6, 18))
    x = np.ones(shape, np.float32)
    hidden = (augment(x, draws=draws._replace(shift=None, offsets=None)) == 0).sum((1, 2, 3))
    assert hidden.max() == 8 * 12


def test_the_same_stream_gives_the_same_images_and_examples_differ():
    x = np.ones((3, 8, 8, 1), np.float32)
    first, again = (DiffAugment()(x, rng=generator(1)) for _ in range(2))
    assert np.array_equal(first, again)
    assert first.dtype == np.float32
    assert not np.array_equal(first[0], first[1])


def test_refusals():
    with pytest.raises(ShapeError, match=r"\(N, H, W, C\)"):
        DiffAugment()(np.zeros((2, 3)), rng=generator())
    with pytest.raises(UsageError, match=r"rng=\.\.\."):
        DiffAugment()(np.zeros((2, 3, 3, 1)))
    with pytest.raises(UsageError, match=r"cutout is 1\.5"):
        DiffAugment(cutout=1.5)
    with pytest.raises(UsageError, match="translation is 'a'"):
        DiffAugment(translation="a")
    with pytest.raises(UsageError, match="brightness is -1"):
        DiffAugment(brightness=-1)
