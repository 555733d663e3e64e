"""What an argument must be, in one place: integers, numbers, dtypes, and arrays of a saved state.

An integer is what Python takes as an index: its own and NumPy's, but no bool and no float.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinygen.errors import CheckpointError, DtypeError, UnavailableError, UsageError


def index(value: Any) -> int:
    """`value` as a Python int; TypeError if it is no integer."""
    if isinstance(value, (bool, np.bool)):
        raise TypeError(f"{value!r} is a bool, not an integer")
    return operator.index(value)


def integer(name: str, value: Any, least: int | None = None) -> int:
    """`value` as a Python int; UsageError if it is no integer, or below `least`."""
    try:
        found = index(value)
    except TypeError:
        found = None
    if found is None or (least is not None and found < least):
        limit = "" if least is None else f" of at least {least}"
        raise UsageError(f"{name} is {value!r}; it must be an integer{limit}.")
    return found


def is_finite(value: Any) -> bool:
    """Whether `value` is a finite real number, which text, None and NaN are not."""
    if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def number(
    name: str,
    value: Any,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    most: float = math.inf,
    below: float = math.inf,
) -> float:
    """`value` as a Python float; UsageError if it is no finite number, or beyond these limits."""
    if not (is_finite(value) and least <= value <= most and above < value < below):
        words = {"at least": least, "above": above, "at most": most, "below": below}
        given = [f"{word} {limit}" for word, limit in words.items() if math.isfinite(limit)]
        limits = f", {' and '.join(given)}" if given else ""
        raise UsageError(f"{name} is {value!r}; it must be a finite number{limits}.")
    return float(value)


def numbers(name: str, values: Iterable[Any]) -> list[float]:
    """`values` as Python floats; UsageError if they are no sequence of real numbers."""
    try:
        array = np.asarray(list(values))
    except (TypeError, ValueError):
        array = np.asarray(None)
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise UsageError(f"{name} is {values!r}; it must be a sequence of numbers.")
    return [float(value) for value in array]


FLOATS = frozenset("fV")
"""The kinds of floating-point dtypes: NumPy's own, and bfloat16's, which is that of raw bytes. No
other dtype of that kind gets into a Tensor."""


def bfloat16() -> np.dtype[Any]:
    """The dtype that NumPy lacks: that of the package ml_dtypes. UnavailableError without it."""
    try:
        from ml_dtypes import bfloat16 as found
    except ImportError as error:
        raise UnavailableError(
            "bfloat16 needs the package ml_dtypes, since NumPy has no such dtype: "
            'pip install "tinygen[bfloat16]".'
        ) from error
    return np.dtype(found)


def is_bfloat16(dtype: Any) -> bool:
    return getattr(dtype, "kind", None) == "V" and dtype.name == "bfloat16"


def is_real(dtype: Any) -> bool:
    """Whether a Tensor may have it: booleans, integers, real floating-point numbers."""
    return getattr(dtype, "kind", None) in ("b", "i", "u", "f") or is_bfloat16(dtype)


def dtype_named(what: str, dtype: Any) -> np.dtype[Any]:
    """`dtype` as a dtype object; DtypeError if there is none of that name."""
    if isinstance(dtype, str) and dtype == "bfloat16":
        return bfloat16()
    try:
        if dtype is not None:  # which NumPy takes for float64
            return np.dtype(dtype)
    except TypeError:
        pass
    raise DtypeError(f"{what}: {dtype!r} is not a dtype; use for example 'float32'.")


def float_dtype(what: str, dtype: Any) -> np.dtype[Any]:
    """float32 or float64, in which models compute; DtypeError for every other."""
    found = dtype if dtype == "bfloat16" else dtype_named(what, dtype)  # needs no package to refuse
    if found not in (np.dtype("float32"), np.dtype("float64")):
        raise DtypeError(f"{what}: the dtype is float32 or float64, not {found}.")
    return found


def saved_array(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """`value`, an entry of a saved state, as an array of `shape` and `dtype`.

    Another precision of the same kind is cast. Raises CheckpointError, whose text follows the name
    of the entry, where the shape or the kind differs or a number is beyond the dtype.
    """
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise CheckpointError("is no array") from error
    if array.shape != shape:
        raise CheckpointError(f"has shape {array.shape} where the model has {shape}")
    if array.dtype.kind != dtype.kind:
        raise CheckpointError(f"is {array.dtype} where the model has {dtype}")
    with np.errstate(over="ignore"):
        cast = array.astype(dtype, copy=False)
    kept = np.isfinite(cast) == np.isfinite(array) if dtype.kind == "f" else cast == array
    if not kept.all():
        raise CheckpointError(f"has numbers beyond {dtype}")
    return cast
