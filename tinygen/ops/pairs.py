"""Options of image ops: a number, or one for rows and one for columns."""

from __future__ import annotations

from typing import Any

from tinygen.arguments import integer
from tinygen.backend.geometry import Pair
from tinygen.errors import UsageError


def pair(op: str, name: str, value: Any, least: int) -> Pair:
    """`value`, one number or two, as two ints of at least `least`; UsageError otherwise."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise UsageError(
                f"{op}: {name} is {value!r}; give one number, or two for rows and columns."
            )
        rows, columns = value
        return integer(f"{op}: {name}", rows, least), integer(f"{op}: {name}", columns, least)
    both = integer(f"{op}: {name}", value, least)
    return both, both
