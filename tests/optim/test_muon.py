"""Muon: orthogonal updates, their scale, convolution weights."""

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn, optim
from tinygen.optim.muon import orthogonal


def generator(seed=0):
    return tg.random.Generator(seed)


@pytest.mark.parametrize("shape", [(8, 8), (5, 20), (20, 5), (1, 7)])
def test_singular_values_come_near_one_and_the_vectors_stay(shape):
    x = generator().normal(shape, "float64")
    y = orthogonal(x)
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    # The map is a polynomial of the singular values alone, so the rest is unchanged.
    found = u.T @ y @ vt.T
    assert abs(found - np.diag(np.diag(found))).max() <= 1e-12
    large = s / np.linalg.norm(s) > 0.01
    assert (np.diag(found)[large] >= 0.65).all()
    assert (np.diag(found) <= 1.21).all()
    assert not orthogonal(np.zeros(shape)).any()


@pytest.mark.parametrize(
    ("dtype", "scale"), [("float32", 1e25), ("float32", 1e-30), ("float64", 1e200)]
)
def test_the_scale_of_a_gradient_does_not_count(dtype, scale):
    x = generator().normal((4, 6), "float64")
    found = orthogonal((x * scale).astype(dtype))
    assert abs(found - orthogonal(x)).max() <= 1e4 * np.finfo(dtype).eps


@pytest.mark.parametrize("shape", [(6, 24), (24, 6), (6, 2, 2, 3)])
def test_one_step_moves_by_an_orthogonal_matrix_of_the_stated_scale(shape):
    p = nn.Parameter(generator().normal(shape, "float64"))
    before = p.data.copy()
    optimizer = optim.Muon([p], lr=0.5, weight_decay=0.25)
    assert optimizer.state_dict().keys() == {"kind", "groups", "parameters"}
    optimizer.zero_grad()
    optimizer.step()
    assert np.array_equal(p.data, before)
    optimizer.load_state_dict(optimizer.state_dict())
    p.grad = tg.Tensor(generator(1).normal(shape, "float64"))
    optimizer.step()
    rows, columns = shape[0], p.size // shape[0]
    # The first step has momentum along the gradient, so its direction is the gradient's.
    expected = orthogonal(p.grad.data.reshape(rows, columns)) * max(1, rows / columns) ** 0.5
    moved = (before * (1 - 0.5 * 0.25) - p.data).reshape(rows, columns) / 0.5
    assert np.allclose(moved, expected, rtol=1e-9, atol=1e-12)
