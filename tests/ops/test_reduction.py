"""Reductions where conventions matter: axes, ties, zeros, empty axes, infinities, dtypes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from exact_laws import assert_linear, assert_multilinear

import tinygen as tg
from tinygen import ops
from tinygen.errors import DtypeError, ShapeError, UsageError

inf, nan = math.inf, math.nan
X = np.arange(24.0).reshape(2, 3, 4) % 7
FOLDS = {
    ops.sum: np.sum,
    ops.mean: np.mean,
    ops.var: np.var,
    ops.std: np.std,
    ops.max: np.max,
    ops.min: np.min,
    ops.prod: np.prod,
    ops.any: np.any,
    ops.all: np.all,
    ops.norm: lambda x, axis, keepdims: np.sqrt(np.sum(x * x, axis, keepdims=keepdims)),
    ops.logsumexp: lambda x, axis, keepdims: np.log(np.sum(np.exp(x), axis, keepdims=keepdims)),
}


def gradient(f, x, create_graph=False):
    return tg.grad(ops.sum(f(x)), x, create_graph=create_graph)[0]


def leaf(values, dtype="float64"):
    return tg.tensor(values, dtype, requires_grad=True)


@pytest.mark.parametrize("f", FOLDS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (-1, 1), ()])
@pytest.mark.parametrize("keepdims", [False, True])
def test_axes_as_in_numpy(f, axis, keepdims):
    want = FOLDS[f](X, axis=axis, keepdims=keepdims)
    got = f(X, axis=axis, keepdims=keepdims)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-14)


@pytest.mark.parametrize("axis", [None, 1, (0, -1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_sums_are_linear(axis, keepdims):
    assert_linear(lambda x: ops.sum(x, axis, keepdims), (2, 3, 4))
    assert_linear(lambda x: ops.mean(x, axis, keepdims), (2, 2, 4))
    assert_linear(lambda x: ops.cumsum(x, 1), (2, 3, 4))
    assert_linear(lambda x: ops.sum_to(x, (3, 1)), (2, 3, 4))


def test_products_are_multilinear_through_zeros():
    """prod over three parts of an array is their product, exactly, with none, one or two zeros."""
    assert_multilinear(lambda x, y, z: ops.prod(ops.stack([x, y, z]), 0), (7,), (7,), (7,))
    x = leaf([[2.0, 0.0, 3.0], [0.0, 5.0, 0.0], [2.0, 3.0, 4.0]])
    first = gradient(lambda x: ops.prod(x, 1), x, create_graph=True)
    assert first.tolist() == [[0, 6, 0], [0, 0, 0], [12, 8, 6]]
    (second,) = tg.grad(ops.sum(first), x)
    assert second.tolist() == [[3, 5, 2], [5, 0, 5], [7, 6, 5]]
    tiny = leaf([1e-200, 1e-200, 3.0])
    assert gradient(ops.prod, tiny).tolist() == pytest.approx([3e-200, 3e-200, 0], rel=1e-15)


def test_extremes_share_their_gradient_among_ties():
    x = leaf([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
    assert gradient(lambda x: ops.max(x, 1), x).tolist() == [[0, 0.5, 0.5], [1 / 3] * 3]
    assert gradient(lambda x: ops.min(x, 1), x).tolist() == [[1, 0, 0], [1 / 3] * 3]
    assert gradient(ops.max, x).tolist() == [[0, 0.5, 0.5], [0, 0, 0]]
    assert gradient(lambda x: ops.max(x, 1) ** 2, x).tolist() == [[0, 3, 3], [4 / 3] * 3]
    assert math.isnan(ops.max(np.array([1.0, nan])))
    assert ops.argmax(np.array([[1, 3, 3]]), axis=1).tolist() == [1]
    assert ops.argmin(tg.tensor([2.0, 1.0, 1.0]), keepdims=True).tolist() == [1]


def test_kinks_have_gradient_zero_in_every_order():
    for f in (ops.std, ops.norm, lambda x: ops.norm(x, 3), lambda x: ops.norm(x, 1.5)):
        x = leaf([0.0, 0.0, 0.0])
        first = gradient(f, x, create_graph=True)
        assert first.tolist() == [0, 0, 0]
        (second,) = tg.grad(ops.sum(first * tg.tensor([1.0, 2.0, 4.0], "float64")), x)
        assert second.tolist() == [0, 0, 0]
    x = leaf([[3.0, -4.0], [5.0, 5.0]])
    assert gradient(lambda x: ops.norm(x, axis=1), x).tolist()[0] == pytest.approx([0.6, -0.8])
    assert gradient(lambda x: ops.std(x, 1), x).tolist() == [[0.5, -0.5], [0, 0]]


def test_orders_of_norm():
    x = leaf([3.0, 0.0, -4.0])
    for order, value, slope in [
        (1, 7, [1, 0, -1]),
        (2, 5, [0.6, 0, -0.8]),
        (inf, 4, [0, 0, -1]),
        (-inf, 0, [0, 0, 0]),
        (0, 2, [0, 0, 0]),
        (3, 91 ** (1 / 3), [9 / 91 ** (2 / 3), 0, -16 / 91 ** (2 / 3)]),
    ]:
        assert ops.norm(x, order).item() == pytest.approx(value, rel=1e-15)
        assert gradient(lambda x, p=order: ops.norm(x, p), x).tolist() == pytest.approx(slope)
    assert ops.norm(np.array([100, 100], "int8")).item() == math.sqrt(20000)


def test_logsumexp_of_infinities_and_huge_numbers():
    x = leaf([[-inf, -inf], [-inf, 1.0], [1e4, 1e4], [-1e4, -2e4]])
    y = ops.logsumexp(x, axis=1)
    assert y.tolist() == [-inf, 1, 1e4 + math.log(2), -1e4]
    first = gradient(lambda x: ops.logsumexp(x, 1), x, create_graph=True)
    assert first.tolist() == [[0, 0], [0, 1], [0.5, 0.5], [1, 0]]  # not 0.49999999999991
    weight = tg.tensor([[1.0, 3.0]] * 4, "float64")
    (second,) = tg.grad(ops.sum(first * weight), x)
    assert second.tolist() == [[0, 0], [0, 0], [-0.5, 0.5], [0, 0]]
    assert ops.logsumexp(np.array([inf, 1.0])) == inf
    assert math.isnan(ops.logsumexp(np.array([nan, 1.0])))
    assert ops.logsumexp(np.array([0, 5], "uint8")) == pytest.approx(5 + math.log1p(math.exp(-5)))


def test_variance_keeps_its_digits_and_corrects():
    x = np.array([1e8, 1e8 + 1, 1e8 + 2])
    assert ops.var(x) == pytest.approx(2 / 3, rel=1e-15)
    assert ops.var(x, correction=1) == 1
    assert ops.std(x, correction=0.5) == pytest.approx(math.sqrt(0.8), rel=1e-15)
    assert np.isnan(ops.var(np.ones((1, 2)), axis=0, correction=1)).all()


def test_empty_axes():
    empty = np.ones((0, 3))
    assert ops.sum(empty, 0).tolist() == [0, 0, 0]
    assert ops.prod(empty, 0).tolist() == [1, 1, 1]
    assert ops.sum(empty, 1).shape == (0,)
    assert np.isnan(ops.mean(empty, 0)).all()
    assert np.isnan(ops.var(empty)).all()
    assert ops.norm(empty).item() == 0
    assert not ops.any(empty).item()
    assert ops.all(empty).item()
    x = leaf(empty)
    for f in (ops.sum, ops.mean, ops.prod, ops.norm, lambda x: ops.max(x, 1)):
        assert gradient(f, x).shape == (0, 3)
    for f in (ops.max, ops.min, ops.logsumexp, ops.argmax):
        with pytest.raises(ShapeError):
            f(empty, axis=0)


def test_dtypes():
    small = np.full(1000, 100, "int8")
    assert ops.sum(small).item() == 100_000
    assert ops.sum(small).dtype == ops.prod(small[:2]).dtype == ops.cumsum(small).dtype == "int64"
    assert ops.sum(small > 0).item() == 1000
    assert ops.mean(np.full(4, 2**62)).item() == 2.0**62
    for f in (ops.mean, ops.var, ops.std, ops.norm, ops.logsumexp):
        assert f(small).dtype == "float64"
        assert f(small.astype("float32")).dtype == "float32"
    assert ops.max(small).dtype == "int8"
    assert ops.argmax(small).dtype == "int64"
    assert ops.any(tg.tensor([0.0, 2.0])).tolist() is True
    assert type(ops.sum(X)) is np.ndarray


@pytest.mark.parametrize("f", [*FOLDS, ops.argmax], ids=lambda f: f.__name__)
def test_bad_axes_are_refused(f):
    for axis in (3, -4):
        with pytest.raises(ShapeError):
            f(X, axis=axis)
    with pytest.raises(DtypeError):
        f(X, axis="0")
    if f is not ops.argmax:
        for axis in ((0, 0), (1, -2), (0, 3)):
            with pytest.raises(ShapeError):
                f(X, axis=axis)
        with pytest.raises(ShapeError):
            f(np.array(1.0), axis=0)


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (ShapeError, lambda: ops.cumsum(X)),
        (ShapeError, lambda: ops.cumsum(X, 3)),
        (ShapeError, lambda: ops.sum_to(X, (3, 2))),
        (ShapeError, lambda: ops.sum_to(X, (1, 2, 3, 4))),
        (DtypeError, lambda: ops.sum(np.array(["a"]))),
        (DtypeError, lambda: ops.mean([1.0, 2.0])),
        (DtypeError, lambda: ops.prod(2.0)),
        (UsageError, lambda: ops.norm(X, -1)),
        (UsageError, lambda: ops.norm(X, "fro")),
        (UsageError, lambda: ops.norm(X, nan)),
    ],
)
def test_refused(error, call):
    with pytest.raises(error):
        call()
