"""The checks that several ops share, each with the sentence that it prints."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from tinygen.arguments import FLOATS
from tinygen.errors import DtypeError, UsageError
from tinygen.function import Value

REDUCTIONS = ("mean", "sum", "none")


def same_float_dtype(op: str, optional: Mapping[str, Value] | None = None, **values: Value) -> None:
    """Fused ops take arrays of one floating-point dtype; those in `optional` may be None."""
    if optional is not None:
        values |= {name: value for name, value in optional.items() if value is not None}
    first = common = None
    for name, value in values.items():
        dtype = getattr(value, "dtype", None)
        if dtype is None or dtype.kind not in FLOATS:
            raise DtypeError(
                f"{op}: {name} must be a floating-point array or Tensor, not "
                f"{dtype or type(value).__name__}. Convert it with .astype('float32')."
            )
        if common is None:
            first, common = name, dtype
        elif dtype != common:
            raise DtypeError(
                f"{op}: {first} is {common} but {name} is {dtype}. Give them one dtype, for "
                f"example {name}.astype({str(common)!r})."
            )


def known_reduction(op: str, reduction: str) -> None:
    one_of(op, "reduction", reduction, REDUCTIONS)


def one_of(op: str, name: str, value: Any, choices: Sequence[str]) -> None:
    """Fail unless `value` is one of these words."""
    if not isinstance(value, str) or value not in choices:
        words = ", ".join(map(repr, choices))
        raise UsageError(f"{op}: {name} is one of {words}, not {value!r}.")


def whole(op: str, name: str, value: Any) -> int:
    """`value` as a Python int: any integer will do, NumPy's too."""
    try:
        return operator.index(value)
    except TypeError as error:
        raise DtypeError(f"{op}: {name} is an integer, not {value!r}.") from error
