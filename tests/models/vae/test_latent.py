"""Paths through a latent space."""

import numpy as np
import pytest

import tinygen as tg
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.models.vae import interpolate, latent_walk


def normal(*shape, seed):
    return tg.random.Generator(seed).normal(shape)


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("steps", [2, 3, 8])
def test_the_ends_are_exact(spherical, steps):
    a, b = normal(5, 7, seed=0), normal(5, 7, seed=1)
    a[1], a[2], a[3] = b[1], -b[2], 0  # one point, opposite ones, and none at all
    path = interpolate(a, b, steps, spherical=spherical)
    assert path.shape == (steps, 5, 7)
    assert path.dtype == np.float32
    assert np.array_equal(path[0], a)
    assert np.array_equal(path[-1], b)
    assert np.isfinite(path).all()


def test_a_line_is_even_and_a_circle_keeps_length_and_pace():
    a, b = normal(7, seed=0).astype("float64"), normal(7, seed=1).astype("float64")
    line = interpolate(a, b, 5)
    assert np.allclose(np.diff(line, axis=0), (b - a) / 4, rtol=1e-12)
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    circle = interpolate(a, b, 5, spherical=True)
    assert np.allclose(np.linalg.norm(circle, axis=-1), 1, rtol=1e-12)
    paces = np.arccos(np.vecdot(circle[1:], circle[:-1]))
    assert np.allclose(paces, np.arccos(a @ b) / 4, rtol=1e-10)


def test_a_walk_moves_one_component():
    z, values = normal(4, seed=0), np.array([-2.0, 0.0, 3.0])
    walk = latent_walk(z, -1, values)
    assert np.array_equal(walk[:, -1], values)
    assert (walk[:, :-1] == z[:-1]).all()
    assert z[-1] not in values


def test_bad_input_is_explained():
    a = np.zeros(3)
    with pytest.raises(ShapeError, match=r"\(3,\) and \(2,\)"):
        interpolate(a, np.zeros(2), 4)
    with pytest.raises(UsageError, match="steps is 1"):
        interpolate(a, a, 1)
    with pytest.raises(UsageError, match=r"steps is 2\.5"):
        interpolate(a, a, 2.5)
    with pytest.raises(DtypeError, match="between which there are only integers"):
        interpolate(a.astype(int), a.astype(int), 3)
    with pytest.raises(UsageError, match=r"axis is 1\.5"):
        latent_walk(a, 1.5, a)
    with pytest.raises(ShapeError, match="no axis 3"):
        latent_walk(a, 3, a)
