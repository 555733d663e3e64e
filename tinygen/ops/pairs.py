"""Options of image ops: a number, or one for rows and one for columns."""

from __future__ import annotations

from operator import index
from typing import Any

from tinygen.backend.geometry import Pair
from tinygen.errors import UsageError


def integer(op: str, name: str, value: Any, least: int) -> int:
    """`value` as an int of at least `least`; UsageError otherwise."""
    try:
        number = index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise UsageError(f"{op}: {name} is {value!r}; it must be an integer of at least {least}.")
    return number


def pair(op: str, name: str, value: Any, least: int) -> Pair:
    """`value`, one number or two, as two ints of at least `least`; UsageError otherwise."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise UsageError(
                f"{op}: {name} is {value!r}; give one number, or two for rows and columns."
            )
        return integer(op, name, value[0], least), integer(op, name, value[1], least)
    both = integer(op, name, value, least)
    return both, both
