"""Gradient clipping."""

import math

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn, optim
from tinygen.errors import UsageError


def leaves(*grads):
    found = []
    for grad in grads:
        p = nn.Parameter(np.zeros(np.shape(grad)))
        p.grad = None if grad is None else tg.Tensor(np.asarray(grad, np.float64))
        found.append(p)
    return found


def test_the_joint_norm_is_returned_and_brought_to_the_limit():
    params = leaves([[3.0, 0.0]], [-4.0], None)
    assert optim.clip_grad_norm(params, 2.5) == 5.0
    assert params[0].grad.tolist() == [[1.5, 0.0]]
    assert params[1].grad.tolist() == [-2.0]
    assert params[2].grad is None
    assert optim.clip_grad_norm(params, 2.5) == 2.5
    assert params[1].grad.tolist() == [-2.0]
    assert optim.clip_grad_norm([], 1.0) == 0.0


def test_leaves_that_share_a_gradient_buffer_are_each_scaled_once():
    a, b = leaves([3.0], [3.0])
    b.grad = a.grad
    shared = a.grad.data
    assert optim.clip_grad_norm([a, b], 1.0) == pytest.approx(math.sqrt(18))
    assert a.grad.tolist() == b.grad.tolist() == pytest.approx([math.sqrt(0.5)])
    assert shared.tolist() == [3.0]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_is_returned_and_the_gradients_stay(value):
    (p,) = leaves([value, 1.0])
    assert not math.isfinite(optim.clip_grad_norm([p], 1.0))
    assert p.grad.tolist()[1] == 1.0


@pytest.mark.parametrize("scale", [1e20, 3e37, 1e-25, 1e-40])
def test_a_norm_whose_squares_leave_float32_is_found_all_the_same(scale):
    g = np.array([[3, -4], [0, 0]], np.float32) * np.float32(scale)
    params = [nn.Parameter(np.zeros((2, 2), np.float32)) for _ in range(4)]
    for p in params:
        p.grad = tg.Tensor(g)
    rounding = 1e-5 + 1e-44 / scale  # subnormal numbers have few digits
    total = optim.clip_grad_norm(params, scale)
    assert total == pytest.approx(10 * scale, rel=rounding)
    clipped = np.stack([p.grad.numpy() for p in params]).astype("float64")
    assert np.linalg.norm(clipped) == pytest.approx(scale, rel=10 * rounding)
    assert optim.clip_grad_norm(params[:1], 1e-3 * scale) == pytest.approx(
        scale / 2, rel=10 * rounding
    )


def test_a_limit_far_below_the_norm_is_reached():
    p = nn.Parameter(np.zeros(2, np.float32))
    p.grad = tg.Tensor(np.array([3e38, 0], np.float32))
    optim.clip_grad_norm([p], 1e-5)
    assert p.grad.tolist() == pytest.approx([1e-5, 0], rel=1e-6)


def test_the_dtype_is_kept():
    p = nn.Parameter(np.zeros(2, np.float32))
    p.grad = tg.Tensor(np.full(2, 10, np.float32))
    optim.clip_grad_norm([p], 1.0)
    assert p.grad.dtype == np.float32
    optim.clip_grad_value([p], 0.5)
    assert p.grad.dtype == np.float32
    assert p.grad.tolist() == [0.5, 0.5]


def test_clipping_by_value():
    params = leaves([-3.0, 0.5, 3.0], None)
    before = params[0].grad.data
    optim.clip_grad_value(params, 1.0)
    assert params[0].grad.tolist() == [-1.0, 0.5, 1.0]
    assert before.tolist() == [-3.0, 0.5, 3.0]


@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan, "a", None])
def test_limits_are_positive(limit):
    with pytest.raises(UsageError, match=f"max_norm is {limit!r}; it must be .* above 0"):
        optim.clip_grad_norm([], limit)
    with pytest.raises(UsageError, match=f"limit is {limit!r}; it must be .* above 0"):
        optim.clip_grad_value([], limit)


def test_an_infinite_limit_measures_only():
    params = leaves([3.0, 4.0], None)
    before = params[0].grad.data
    assert optim.clip_grad_norm(params, math.inf) == 5
    assert params[0].grad.data is before
