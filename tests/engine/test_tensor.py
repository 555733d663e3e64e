"""What a Tensor says of itself, and what a person expects of one."""

from __future__ import annotations

import numpy as np
import pytest

import tinygen as tg
from tinygen import ops
from tinygen.errors import DtypeError, GraphError, ShapeError


def leaf(*values: float) -> tg.Tensor:
    return tg.tensor(list(values), dtype="float64", requires_grad=True)


def test_what_a_tensor_says_of_itself() -> None:
    x = tg.tensor([[1.0, 2.0]], requires_grad=True)
    assert (x.shape, x.ndim, x.size, len(x), x.device, x.is_leaf) == ((1, 2), 2, 2, 1, "cpu", True)
    assert repr(x) == "tensor([[1., 2.]], dtype=float32, requires_grad=True)"
    assert "from=Multiply" in repr(x * 2.0)
    assert [row.tolist() for row in x] == [[1, 2]]
    assert not x.numpy().flags.writeable
    assert tg.ones(2).numpy().flags.writeable
    assert (x.detach().requires_grad, x.clone().requires_grad) == (False, True)
    assert (float(x.sum()), int(x.sum()), bool(x.sum())) == (3.0, 3, True)
    assert np.asarray(x.detach()).tolist() == [[1, 2]]
    assert x.to("cpu") is x
    assert x.to(dtype="float64").dtype == np.float64
    with pytest.raises(ShapeError, match="one element"):
        x.item()
    with pytest.raises(ShapeError, match="ambiguous"):
        bool(x)
    with pytest.raises(ShapeError, match="no length"):
        len(x.sum())
    with pytest.raises(ShapeError, match="matrices"):
        _ = tg.ones(2).T


def test_dtypes_of_new_tensors() -> None:
    kinds = {"float32": [1.0, 2], "int64": [1, 2], "bool": [True, False]}
    for dtype, data in kinds.items():
        assert tg.tensor(data).dtype == dtype
    assert tg.tensor(np.zeros(2, "float64")).dtype == np.float64
    assert tg.tensor(np.zeros(2, "uint8")).dtype == np.uint8
    assert tg.tensor([1, 2], dtype="float64").dtype == np.float64
    source = np.zeros(2)
    copied = tg.tensor(source)
    source[0] = 1
    assert copied.tolist() == [0, 0]
    with pytest.raises(ShapeError, match="equal lengths"):
        tg.tensor([[1], [1, 2]])
    with pytest.raises(DtypeError, match="real numbers"):
        tg.tensor(["text"])


def test_deepcopy_is_for_leaves() -> None:
    import copy

    x = leaf(1.0)
    (x * x).sum().backward()
    y = copy.deepcopy(x)
    assert y is not x
    assert y.requires_grad
    assert y.grad is not None
    assert y.grad.tolist() == [2]
    with pytest.raises(GraphError, match="deep-copied"):
        copy.deepcopy(x * x)


def test_one_element_is_formatted_and_counts_as_its_number() -> None:
    loss, n = tg.tensor(2.34567), tg.tensor(3)
    assert f"{loss:.3f}" == "2.346"
    assert f"{loss}" == str(loss)
    assert list(range(n)) == [0, 1, 2]
    assert "abcd"[n] == "d"


def test_truths_combine() -> None:
    x = tg.tensor([-1.0, 0.5, 2.0])
    assert ((x > 0) & (x < 1)).tolist() == [False, True, False]
    assert ((x < 0) | (x > 1)).tolist() == [True, False, True]
    assert ((x > 0) ^ (x > 1)).tolist() == [False, True, False]
    assert (~(x > 0)).tolist() == [True, False, False]
    assert (True & (x > 0)).tolist() == [False, True, True]
    assert (+x).tolist() == x.tolist()


def test_the_order_of_bytes_does_not_matter() -> None:
    x = tg.tensor(np.arange(4, dtype=">f4"), requires_grad=True)
    assert x.dtype.isnative
    (ops.where(x > 1, x, 0) * x).sum().backward()
    assert x.grad.tolist() == [0, 0, 4, 6]
    assert ops.exp(np.zeros(2, ">f8")).dtype.isnative


def test_axes_may_be_one_or_several_arguments() -> None:
    assert tg.tensor([1.0, 2.0]).permute_dims((0,)).shape == (2,)
    assert tg.tensor([1.0, 2.0]).permute_dims(0).shape == (2,)
    assert tg.zeros((2, 3)).permute_dims(1, 0).shape == (3, 2)
