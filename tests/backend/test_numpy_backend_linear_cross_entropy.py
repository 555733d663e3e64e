"""The loss of a linear map in blocks of rows, however small: that of all rows at once."""

from importlib import import_module

import numpy as np
import pytest

from tinygen import ops
from tinygen.autograd import grad
from tinygen.tensor import Tensor


@pytest.mark.parametrize("block", [1, 24, 1 << 20])
def test_blocks_of_rows(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("tinygen.backend.numpy_backend.linear_cross_entropy")
    monkeypatch.setattr(module, "BLOCK", block)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in ((3, 4, 6), (11, 6))]
    targets = np.where(rng.random((3, 4)) < 0.3, -1, rng.integers(0, 11, (3, 4)))
    options = {"ignore_index": -1, "label_smoothing": 0.1, "z_loss": 1e-2}
    results = []
    for blocked in (False, True):
        x, w = (Tensor(a, requires_grad=True) for a in arrays)
        if blocked:
            loss = ops.linear_cross_entropy(x, w, targets, **options)
        else:
            loss = ops.cross_entropy(ops.linear(x, w), targets, **options)
        results.append([loss.numpy(), *(g.numpy() for g in grad([loss], [x, w]))])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-14)
