"""Bernoulli rows in blocks: their size changes nothing but rounding."""

import numpy as np
import pytest

from tinygen.backend.numpy_backend import bernoulli


@pytest.mark.parametrize("block", [1, 3, 7, 8, 1000])
@pytest.mark.parametrize("shape", [(4, 3), (2, 5, 3), (3, 2, 4, 1), (2, 0, 3), (2, 3, 0)])
@pytest.mark.parametrize("shared", [0, 1])
def test_blocks_of_any_size(monkeypatch, block, shape, shared):
    monkeypatch.setattr(bernoulli, "BLOCK", block)
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=shape), rng.random(shape[shared:])
    t = t if t.ndim else rng.random(shape)
    losses, slope = bernoulli.bernoulli_nll_forward(x, t)
    assert np.allclose(losses, (np.logaddexp(0, x) - t * x).sum(-1), rtol=1e-13)
    assert np.allclose(slope, 1 / (1 + np.exp(-x)) - t, rtol=1e-12, atol=1e-15)
    again, none = bernoulli.bernoulli_nll_forward(x, t, with_derivative=False)
    assert none is None
    assert np.array_equal(again, losses)
