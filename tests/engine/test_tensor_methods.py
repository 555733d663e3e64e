"""A method of a Tensor is its op: the same name, parameters and defaults, the same value."""

import inspect
from typing import Any

import numpy as np
import pytest

import tinygen as tg
from tinygen import ops
from tinygen.random import Generator

METHODS = sorted(name for name in ops.__all__ if callable(getattr(tg.Tensor, name, None)))
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "astype": ("float64",),
    "broadcast_to": ((2, 3, 4),),
    "clip": (0.2, 0.7),
    "cumsum": (1,),
    "expand_dims": (1,),
    "permute_dims": ((1, 0),),
    "reshape": ((4, 3),),
    "split": (3,),
    "take": (np.array([2, 0, 2]), 1),
    "take_along_axis": (np.array([[2], [0], [1]]),),
    "topk": (2,),
}
VARIADIC = {"reshape", "permute_dims"}  # x.reshape(4, 3) as well as x.reshape((4, 3))


def numbers(value: Any) -> list[Any]:
    return [v.numpy() for v in (value if isinstance(value, tuple) else (value,))]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_its_op(name: str) -> None:
    x = tg.Tensor(Generator(0).uniform((3, 4), dtype="float64") + 0.1)
    arguments = ARGUMENTS.get(name, ())
    found = numbers(getattr(x, name)(*arguments))
    expected = numbers(getattr(ops, name)(x, *arguments))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.parametrize("name", sorted(set(METHODS) - VARIADIC))
def test_a_method_has_the_parameters_of_its_op(name: str) -> None:
    def parameters(fn: Any) -> list[tuple[str, Any]]:
        return [(p.name, p.default) for p in list(inspect.signature(fn).parameters.values())[1:]]

    assert parameters(getattr(tg.Tensor, name)) == parameters(getattr(ops, name))


def test_people_find_what_they_expect() -> None:
    expected = "exp log sqrt abs sin cos tanh sigmoid relu gelu sum mean var std max min prod norm"
    expected += " logsumexp softmax cumsum argmax sort topk any all reshape squeeze flip split take"
    assert set(expected.split()) <= set(METHODS)
