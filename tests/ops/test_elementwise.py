"""Elementwise ops where conventions matter: kinks, ties, zeros, extremes, dtypes, bad calls."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinygen as tg
from tinygen import ops
from tinygen.errors import DtypeError, ShapeError, TinygenError, UsageError

inf, nan = math.inf, math.nan


def derivatives(f, *values, dtype="float64"):
    """f, its gradients, and the gradients of the sum of those, one number for each argument."""
    xs = [tg.tensor(v, dtype, requires_grad=True) for v in values]
    y = f(*xs)
    first = tg.grad(y, xs, create_graph=True, allow_unused=True)
    known = [g for g in first if g is not None and g.requires_grad]
    total = sum(known[1:], start=known[0]) if known else None
    second = tg.grad(total, xs, allow_unused=True) if known else [None] * len(xs)
    numbers = [[0.0 if g is None else g.item() for g in gs] for gs in (first, second)]
    return y.item(), *(n[0] if len(n) == 1 else tuple(n) for n in numbers)


@pytest.mark.parametrize(
    ("f", "x", "want"),
    [
        (ops.abs, 0.0, (0, 0, 0)),
        (ops.relu, 0.0, (0, 0, 0)),
        (ops.leaky_relu, 0.0, (0, 0.01, 0)),
        (ops.sign, 3.0, (1, 0, 0)),
        (ops.floor, -2.0, (-2, 0, 0)),
        (ops.ceil, 1.5, (2, 0, 0)),
        (ops.round, 2.5, (2, 0, 0)),
        (lambda x: ops.maximum(x, 0.0), 0.0, (0, 0.5, 0)),
        (lambda x: ops.minimum(1, x), 1.0, (1, 0.5, 0)),
        (lambda x: ops.clip(x, -1, 1), 1.0, (1, 1, 0)),
        (lambda x: ops.clip(x, -1, 1), -1.0, (-1, 1, 0)),
        (lambda x: ops.clip(x, -1, 1), 1.5, (1, 0, 0)),
        (lambda x: ops.clip(x, max=1), -9.0, (-9, 1, 0)),
        (lambda x: x**0, 0.0, (1, 0, 0)),
        (lambda x: x**1, 0.0, (0, 1, 0)),
        (lambda x: x**2, 0.0, (0, 0, 2)),
        (lambda x: x**3, 0.0, (0, 0, 0)),
        (lambda x: x**3, 2.0, (8, 12, 12)),
        (lambda x: x**-1, -2.0, (-0.5, -0.25, -0.25)),
        (lambda x: x**0.5, 4.0, (2, 0.25, -1 / 32)),
        (lambda x: 0.0**x, 2.0, (0, 0, 0)),
        (lambda x: 1**x, 2.0, (1, 0, 0)),
        (ops.sigmoid, 0.0, (0.5, 0.25, 0)),
        (ops.tanh, 0.0, (0, 1, 0)),
        (ops.silu, 0.0, (0, 0.5, 0.5)),
        (ops.softplus, 0.0, (math.log(2), 0.5, 0.25)),
        (ops.gelu, 0.0, (0, 0.5, math.sqrt(2 / math.pi))),
    ],
)
def test_value_gradient_and_curvature_at_a_point(f, x, want):
    assert derivatives(f, x) == pytest.approx(want, rel=1e-14, abs=0)


@pytest.mark.parametrize(
    ("x", "y", "first"),
    [
        (0.0, 2.0, (0, 0)),
        (0.0, 1.0, (1, 0)),
        (0.0, 0.0, (0, 0)),
        (3.0, 0.0, (0, math.log(3))),
        (2.0, 3.0, (12, 8 * math.log(2))),
    ],
)
def test_power_of_two_tensors(x, y, first):
    assert derivatives(ops.power, x, y)[1] == pytest.approx(first, rel=1e-15)


def test_power_mixed_second_derivatives():
    """d/dx (dx + dy) and d/dy (dx + dy) of x^y, the first kind by hand; no NaN at 0^2 and 0^0."""
    x, y, log = 2.0, 3.0, math.log(2)
    mixed = x ** (y - 1) * (1 + y * log)
    want = y * (y - 1) * x ** (y - 2) + mixed, mixed + x**y * log * log
    assert derivatives(ops.power, x, y)[2] == pytest.approx(want, rel=1e-14)
    assert derivatives(ops.power, 3.0, 0.0)[2] == pytest.approx((1 / 3, 1 / 3 + math.log(3) ** 2))
    assert derivatives(ops.power, 0.0, 2.0)[2] == (2, 0)
    assert derivatives(ops.power, 0.0, 0.0)[2] == (0, 0)


def test_ties_share_and_bounds_pass_on():
    assert derivatives(ops.maximum, 2.0, 2.0)[1] == (0.5, 0.5)
    assert derivatives(ops.minimum, 2.0, 2.0)[1] == (0.5, 0.5)
    assert derivatives(ops.maximum, 2.0, 3.0)[1] == (0, 1)
    assert derivatives(ops.clip, 5.0, -1.0, 2.0)[1] == (0, 0, 1)
    assert derivatives(ops.clip, -5.0, -1.0, 2.0)[1] == (0, 1, 0)
    assert derivatives(ops.clip, 2.0, -1.0, 2.0)[1] == (1, 0, 0)


def test_what_is_not_chosen_gets_zero_even_from_an_infinite_gradient():
    x = tg.tensor([-1.0, 4.0], requires_grad=True)
    with np.errstate(divide="ignore"):
        for f in (ops.relu, lambda x: ops.where(x > 0, x, 0), lambda x: ops.clip(x, 0)):
            (g,) = tg.grad(ops.sum(ops.sqrt(f(x))), x)
            assert g.tolist() == [0, 0.25]


def test_where_takes_numbers_and_broadcasts():
    cond = np.array([[True], [False]])
    assert ops.where(cond, 0.0, -inf).dtype == "float32"
    assert ops.where(cond, 1, 0).dtype == "int64"
    assert ops.where(cond, np.ones(3, "float32"), np.int64(1)).dtype == "float64"
    x = tg.tensor([1.0, nan, 3.0], requires_grad=True)
    assert ops.where(tg.tensor(~cond), 7, x).tolist()[1] == [7, 7, 7]
    y = ops.where(cond, x, 0)
    assert y.tolist()[1] == [0, 0, 0]
    (g,) = tg.grad(y, x, ops.ones_like(y))
    assert g.tolist() == [1, 1, 1]
    assert ops.where(True, x, 2.0).tolist()[::2] == [1, 3]


SMOOTH = [ops.tanh, ops.erf, ops.erfc, ops.sigmoid, ops.log_sigmoid, ops.softplus, ops.silu]
KINKED = [ops.relu, ops.leaky_relu, ops.gelu, lambda x: ops.gelu(x, "tanh")]


@pytest.mark.parametrize("f", SMOOTH + KINKED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations_are_finite_and_quiet_far_out_and_pass_nan_on(f, dtype):
    x = tg.tensor(
        [-1e9, -1e4, -750.0, -89.0, 0.0, 89.0, 750.0, 1e4, 1e9], dtype, requires_grad=True
    )
    y = f(x)
    (first,) = tg.grad(ops.sum(y), x, create_graph=True)
    for values in (y, first):
        assert np.isfinite(values.numpy()).all()
        assert values.dtype == dtype
    if f in SMOOTH:
        (second,) = tg.grad(ops.sum(first), x)
        assert np.isfinite(second.numpy()).all()
    assert math.isnan(f(np.array([nan], dtype))[0])


def test_tails_keep_their_digits():
    """float32 values and gradients where 1 + e^x or 1 - y would have lost them."""
    for f, x, y, slope in [
        (ops.sigmoid, -80.0, math.exp(-80), math.exp(-80)),
        (ops.sigmoid, 30.0, 1.0, math.exp(-30)),
        (ops.softplus, -60.0, math.exp(-60), math.exp(-60)),
        (ops.log_sigmoid, 60.0, -math.exp(-60), math.exp(-60)),
        (ops.silu, -40.0, -40 * math.exp(-40), -39 * math.exp(-40)),
        (ops.expm1, 1e-12, 1e-12, 1.0),
        (ops.expm1, -30.0, -1.0, math.exp(-30)),
        (ops.log1p, 1e-12, 1e-12, 1.0),
        (ops.erfc, 8.0, math.erfc(8), -2 / math.sqrt(math.pi) * math.exp(-64)),
        (ops.gelu, -9.0, -4.5 * math.erfc(9 / math.sqrt(2)), -9.135671879559822e-18),
    ]:
        assert derivatives(f, x, dtype="float32")[:2] == pytest.approx((y, slope), rel=1e-5)


def test_promotion_follows_the_standard_and_numbers_adapt():
    f32, f64, i64 = np.ones(2, "float32"), np.ones(2), np.ones(2, "int64")
    assert ops.add(f32, 1.5).dtype == "float32"
    assert ops.divide(1.5, f32).dtype == "float32"
    assert ops.multiply(f32, f64).dtype == "float64"
    assert ops.maximum(f32, i64).dtype == "float64"
    assert ops.power(2.0, f32).dtype == ops.power(f32, 2).dtype == "float32"
    assert (
        ops.divide(i64, i64).dtype == ops.exp(i64).dtype == ops.power(i64, 0.5).dtype == "float64"
    )
    assert ops.power(i64, 2).dtype == ops.floor(i64).dtype == "int64"
    x, y = tg.tensor(f32, requires_grad=True), tg.tensor(f64, requires_grad=True)
    gx, gy = tg.grad(ops.sum(x * y / x), (x, y))
    assert (gx.dtype, gy.dtype) == ("float32", "float64")


def test_broadcast_inputs_get_gradients_of_their_own_shape():
    x = tg.tensor(np.full((3, 1), 2.0), requires_grad=True)
    y = tg.tensor(np.full((4,), 5.0), requires_grad=True)
    gx, gy = tg.grad(ops.sum(x * y), (x, y))
    assert gx.tolist() == [[20.0]] * 3
    assert gy.tolist() == [6.0] * 4


def test_comparisons_are_boolean_and_outside_the_graph():
    x = tg.tensor([1.0, nan, -inf], requires_grad=True)
    assert (x == x).tolist() == [True, False, True]
    assert (x != x).tolist() == ops.isnan(x).tolist() == [False, True, False]
    assert (x >= 1).tolist() == [True, False, False]
    assert ops.isinf(x).tolist() == (x < 0).tolist() == [False, False, True]
    assert ops.isfinite(x.numpy()).tolist() == [True, False, False]
    assert type(ops.logical_not(x > 0)) is tg.Tensor
    assert not (x > 0).requires_grad
    a, b = np.array([True, True, False]), np.array([True, False, False])
    assert ops.logical_and(a, b).tolist() == [True, False, False]
    assert ops.logical_or(a, b).tolist() == [True, True, False]
    assert ops.logical_xor(a, b).tolist() == [False, True, False]


TWO, THREE, WHOLE, TEXT = np.ones(2), np.ones(3), np.arange(2), np.array(["a", "b"])


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (ShapeError, lambda: ops.add(TWO, THREE)),
        (ShapeError, lambda: ops.where(TWO > 0, TWO, THREE)),
        (ShapeError, lambda: ops.clip(TWO, THREE)),
        (DtypeError, lambda: ops.add(TWO, TEXT)),
        (DtypeError, lambda: ops.multiply(TWO, None)),
        (DtypeError, lambda: ops.exp(TEXT)),
        (DtypeError, lambda: ops.exp([1.0])),
        (DtypeError, lambda: ops.exp(1.0)),
        (DtypeError, lambda: ops.add(1.0, 2)),
        (DtypeError, lambda: ops.where(TWO, TWO, 0)),
        (DtypeError, lambda: ops.where(TWO > 0, TWO, None)),
        (DtypeError, lambda: ops.power(WHOLE, -1)),
        (DtypeError, lambda: ops.power(2, -WHOLE)),
        (DtypeError, lambda: ops.power(TWO, None)),
        (DtypeError, lambda: ops.sigmoid(WHOLE)),
        (DtypeError, lambda: ops.gelu(WHOLE)),
        (UsageError, lambda: ops.gelu(TWO, "erf")),
        (UsageError, lambda: ops.leaky_relu(TWO, inf)),
        (TinygenError, lambda: ops.multiply(WHOLE, 10**30)),
    ],
)
def test_refused(error, call):
    with pytest.raises(error):
        call()
