"""New Tensors: values, default dtypes, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tinygen as tg
from tinygen import ops
from tinygen.errors import (
    DeviceError,
    DtypeError,
    OutOfRangeError,
    ShapeError,
    UnavailableError,
    UsageError,
)


def test_python_numbers_choose_the_dtype():
    for made, dtype in [
        (ops.zeros(2), "float32"),
        (ops.ones((2, 0), dtype=None), "float32"),
        (ops.eye(2), "float32"),
        (ops.linspace(0, 1, 3), "float32"),
        (ops.full(2, 1.5), "float32"),
        (ops.full(2, 7), "int64"),
        (ops.full(2, True), "bool"),
        (ops.arange(3), "int64"),
        (ops.arange(0, 1, 0.25), "float32"),
        (ops.zeros(2, "float64"), "float64"),
    ]:
        assert type(made) is tg.Tensor
        assert made.dtype == dtype
        assert not made.requires_grad


def test_values():
    assert ops.zeros((2, 3)).tolist() == [[0.0] * 3] * 2
    assert ops.ones(()).tolist() == 1.0
    assert ops.full((1, 2), -math.inf).tolist() == [[-math.inf] * 2]
    assert ops.arange(5, 1, -2).tolist() == [5, 3]
    assert ops.arange(2, 2).tolist() == []
    assert ops.linspace(1, 3, 5).tolist() == [1, 1.5, 2, 2.5, 3]
    assert ops.linspace(0, 4, 4, endpoint=False).tolist() == [0, 1, 2, 3]
    assert ops.eye(2, 3, 1).tolist() == [[0, 1, 0], [0, 0, 1]]
    assert ops.arange(0, 1, 0.1).tolist() == np.arange(0, 1, 0.1).astype("float32").tolist()


def test_requires_grad_makes_a_leaf():
    x = ops.ones(2, requires_grad=True)
    (x * x).backward(ops.ones(2))
    assert x.grad.tolist() == [2, 2]


def test_like_gives_what_it_was_given():
    array = np.ones((2, 3), "float32")[:, ::2]
    for like in (ops.zeros_like(array), ops.full_like(array, 3)):
        assert type(like) is np.ndarray
        assert (like.shape, like.dtype) == ((2, 2), "float32")
    tensor = tg.tensor(array, requires_grad=True)
    like = ops.ones_like(tensor, "int64")
    assert type(like) is tg.Tensor
    assert like.dtype == "int64"
    assert not like.requires_grad


def test_copy_and_astype_own_their_memory_and_pass_the_gradient():
    x = tg.tensor(np.arange(3.0), requires_grad=True)
    for made in (ops.copy(x), ops.astype(x, "float64")):
        assert not np.shares_memory(made.data, x.data)
    y = ops.astype(ops.copy(x), "float32")
    assert y.dtype == "float32"
    (g,) = tg.grad(y, x, ops.ones_like(y))
    assert g.dtype == "float64"
    assert g.tolist() == [1, 1, 1]
    assert not ops.astype(x, "int32").requires_grad


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (ShapeError, lambda: ops.zeros(-1)),
        (ShapeError, lambda: ops.ones(10**30)),
        (DtypeError, lambda: ops.zeros(1.5)),
        (DtypeError, lambda: ops.zeros(2, "complex64")),
        (DtypeError, lambda: ops.zeros(2, "number")),
        (DtypeError, lambda: ops.zeros(2, "int64", requires_grad=True)),
        (DeviceError, lambda: ops.arange(2, device="gpu")),
        (UnavailableError, lambda: ops.zeros(2, device="cuda:99")),
        (DtypeError, lambda: ops.full(2, None)),
        (DtypeError, lambda: ops.full(2, math.nan, "int64")),
        (DtypeError, lambda: ops.full_like(np.arange(2), 0.5)),
        (OutOfRangeError, lambda: ops.full(2, 300, "uint8")),
        (UsageError, lambda: ops.arange(0, 3, 0)),
        (ShapeError, lambda: ops.arange(math.inf)),
        (DtypeError, lambda: ops.arange("3")),
        (DtypeError, lambda: ops.arange(300, dtype="uint8")),
        (ShapeError, lambda: ops.linspace(0, 1, -1)),
        (DtypeError, lambda: ops.linspace(0, 1, 3, "int64")),
        (ShapeError, lambda: ops.eye(-1)),
        (DtypeError, lambda: ops.zeros_like(3.0)),
        (DtypeError, lambda: ops.astype(np.ones(2), "str")),
        (DtypeError, lambda: ops.astype(np.ones(2), None)),
    ],
)
def test_refused(error, call):
    with pytest.raises(error):
        call()
