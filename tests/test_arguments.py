"""What an argument must be: numbers of Python and NumPy pass, and nothing else does."""

import math
from fractions import Fraction

import numpy as np
import pytest

from tinygen.arguments import integer, is_finite, number, numbers
from tinygen.errors import UsageError


@pytest.mark.parametrize("value", [0, -3, 2.5, np.int8(3), np.uint64(3), np.float16(0.5), 1e308])
def test_finite_numbers(value):
    assert is_finite(value)
    found = number("x", value)
    assert type(found) is float
    assert found == value


@pytest.mark.parametrize(
    "value",
    [math.nan, -math.inf, np.float32("inf"), 10**400, True, np.True_, "1", None, 1j, Fraction(1)],
)
def test_what_is_no_finite_number(value):
    assert not is_finite(value)
    with pytest.raises(UsageError, match=r"^x is .*; it must be a finite number"):
        number("x", value)


@pytest.mark.parametrize(
    ("limits", "inside", "outside", "says"),
    [
        ({"least": 0}, [0, 5], [-1e-9], "a finite number, at least 0"),
        ({"above": 0}, [1e-9], [0, -1], "a finite number, above 0"),
        ({"least": 0, "most": 1}, [0, 1], [1.5, -0.5], "at least 0 and at most 1"),
        ({"above": 0, "below": 1}, [0.5], [0, 1], "above 0 and below 1"),
    ],
)
def test_limits_of_a_number(limits, inside, outside, says):
    for value in inside:
        assert number("x", value, **limits) == value
    for value in outside:
        with pytest.raises(UsageError, match=f"^x is {value}; it must be .*{says}"):
            number("x", value, **limits)


def test_several_numbers():
    assert numbers("x", (1, np.float32(0.5))) == [1.0, 0.5]
    assert numbers("x", np.arange(3)) == [0.0, 1.0, 2.0]
    assert numbers("x", iter([2, 1])) == [2.0, 1.0]
    assert numbers("x", []) == []
    for values in (["a"], "10", [1, None], [1j], [True, False], [[1, 2]], 3, None):
        with pytest.raises(UsageError, match="it must be a sequence of numbers"):
            numbers("x", values)


def test_integers():
    assert integer("x", np.int16(3), least=3) == 3
    for value in (2, 3.0, True, "3", None):
        with pytest.raises(UsageError, match=r"^x is .*; it must be an integer of at least 3"):
            integer("x", value, least=3)
