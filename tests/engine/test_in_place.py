"""An update in place between forward and backward is seen through every road to the same memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn, ops
from tinygen.errors import GraphError


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(list(values), dtype="float64", requires_grad=True)


def updated(parameter: nn.Parameter) -> None:
    parameter.grad = tg.ones(parameter.shape, dtype="float64")
    tg.optim.SGD([parameter], lr=1.0).step()


def test_an_update_between_forward_and_backward_is_an_error() -> None:
    weight = nn.Parameter(np.ones((2, 2), np.float32))
    optimizer = tg.optim.SGD([weight], lr=0.1)
    x = tg.ones((2, 2), requires_grad=True)
    stale, view = ops.matmul(x, weight).sum(), ops.matmul(x, weight.T).sum()
    linear = ops.linear(x, weight).sum()
    harmless = (weight + 1.0).sum()
    ops.matmul(x, weight).sum().backward()
    optimizer.step()
    for loss in (stale, view, linear):
        with pytest.raises(GraphError, match="in place"):
            loss.backward()
    harmless.backward()  # its gradient does not read the weight


@pytest.mark.parametrize(
    "road",
    [
        lambda w: tg.checkpoint(lambda a: a * a * a, w),
        lambda w: w.detach() * leaf(1.0, 1.0),
        lambda w: w.reshape(1, 2)[0] * leaf(1.0, 1.0),
        lambda w: tg.no_grad()(lambda: w[:])() * leaf(1.0, 1.0),
        lambda w: tg.checkpoint(lambda a: a * w.detach(), leaf(1.0, 1.0)),
    ],
)
def test_an_update_is_seen_through_views_and_checkpoints(road: Any) -> None:
    weight = nn.Parameter(np.array([1.0, 2.0]))
    tg.optim.SGD([weight], lr=1.0)  # moves the data into its buffer first
    y = road(weight).sum()
    updated(weight)
    with pytest.raises(GraphError, match="in place"):
        y.backward()
