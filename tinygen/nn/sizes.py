"""The check that every layer and model makes of its sizes."""

from __future__ import annotations

from typing import Any

from tinygen.arguments import integer
from tinygen.errors import UsageError


def require_sizes(layer: str, **sizes: int) -> None:
    """Raise UsageError where a size is not a positive integer."""
    for name, size in sizes.items():
        integer(f"{layer}: {name}", size, least=1)


def size_tuple(layer: str, name: str, values: Any) -> tuple[int, ...]:
    """`values` as a tuple; UsageError unless they are a tuple or list of positive integers."""
    if not isinstance(values, tuple | list):
        raise UsageError(
            f"{layer}: {name} is {values!r}; it is a tuple of sizes, such as (32, 64)."
        )
    return tuple(integer(f"{layer}: {name}[{i}]", size, least=1) for i, size in enumerate(values))
