"""The checks that several ops share, each with the sentence that it prints."""

from __future__ import annotations

from typing import Any

from tinygen.errors import DtypeError, UsageError
from tinygen.function import Value

REDUCTIONS = ("mean", "sum", "none")


def same_float_dtype(op: str, **values: Value) -> None:
    """Fused ops take arrays of one floating-point dtype; `None` is an input left out."""
    first: Any = None
    for name, value in values.items():
        if value is None:
            continue
        dtype = getattr(value, "dtype", None)
        if dtype is None or dtype.kind != "f":
            raise DtypeError(
                f"{op}: {name} must be a floating-point array or Tensor, not "
                f"{dtype or type(value).__name__}. Convert it with .astype('float32')."
            )
        if first is None:
            first = (name, dtype)
        elif dtype != first[1]:
            raise DtypeError(
                f"{op}: {first[0]} is {first[1]} but {name} is {dtype}. Give them one dtype, for "
                f"example {name}.astype({str(first[1])!r})."
            )


def known_reduction(op: str, reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise UsageError(f"{op}: unknown reduction {reduction!r}; use one of {REDUCTIONS}.")
