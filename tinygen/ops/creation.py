"""New Tensors: constants, ranges, and arrays shaped like another.

The functions that take a shape or numbers return leaf Tensors and follow the array API standard,
with float32 as the default dtype. The `_like` functions return what they were given: a Tensor for a
Tensor, an array for an array.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tinygen.arguments import FLOATS
from tinygen.backend import Array, backend_named, backend_of, raw
from tinygen.errors import DtypeError, OutOfRangeError, ShapeError, TinygenError, UsageError
from tinygen.function import Value
from tinygen.ops.casting import real_dtype
from tinygen.tensor import Tensor

__all__ = [
    "arange",
    "eye",
    "full",
    "full_like",
    "linspace",
    "ones",
    "ones_like",
    "zeros",
    "zeros_like",
]

Shape = int | Sequence[int]


def zeros(
    shape: Shape, dtype: Any = "float32", *, device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """A Tensor of zeros. `shape` is a length or a tuple of lengths, each 0 or more."""
    return full(shape, 0, _or_float32(dtype), device=device, requires_grad=requires_grad)


def ones(
    shape: Shape, dtype: Any = "float32", *, device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """A Tensor of ones."""
    return full(shape, 1, _or_float32(dtype), device=device, requires_grad=requires_grad)


def full(
    shape: Shape,
    fill_value: float,
    dtype: Any = None,
    *,
    device: str = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """A Tensor of `fill_value`, a Python number: int64 for an int, bool for a bool, else float32.

    An integer `dtype` takes no fraction, inf or NaN (`DtypeError`) and nothing beyond its range
    (`OutOfRangeError`).
    """
    dtype = real_dtype("full", default_dtype(fill_value) if dtype is None else dtype)
    return Tensor(
        _filled("full", backend_named(device).xp, shape, fill_value, dtype), requires_grad
    )


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1,
    dtype: Any = None,
    *,
    device: str = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, ... below (for a negative step: above) `stop`; one number is the stop.

    int64 if all numbers are integers, else float32, rounded from a float64 range. An integer
    `dtype` that cannot hold every number is a `DtypeError`.
    """
    if stop is None:
        start, stop = 0, start
    for given in (start, stop, step):
        default_dtype(given)  # refuses what is not a number
    if step == 0:
        raise UsageError(f"arange: the step from {start} to {stop} is 0; give one that moves.")
    with _explained("arange"):
        default = default_dtype(start, stop, step)
        dtype = real_dtype("arange", default if dtype is None else dtype)
        numbers = backend_named(device).xp.arange(start, stop, step)
        array = numbers.astype(dtype)
    if dtype.kind not in FLOATS and (array != numbers).any():
        raise DtypeError(f"arange: {dtype} cannot hold the numbers from {start} to {stop}.")
    return Tensor(array, requires_grad)


def linspace(
    start: float,
    stop: float,
    num: int,
    dtype: Any = "float32",
    *,
    endpoint: bool = True,
    device: str = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """`num` evenly spaced numbers from `start` to `stop`, which is left out unless `endpoint`.

    `dtype` is a float.
    """
    with _explained("linspace"):
        dtype = real_dtype("linspace", _or_float32(dtype))
        if dtype.kind not in FLOATS:
            raise DtypeError(f"linspace: the numbers between are fractions, which {dtype} is not.")
        array = backend_named(device).xp.linspace(start, stop, num, endpoint).astype(dtype)
    return Tensor(array, requires_grad)


def eye(
    n_rows: int,
    n_cols: int | None = None,
    k: int = 0,
    dtype: Any = "float32",
    *,
    device: str = "cpu",
    requires_grad: bool = False,
) -> Tensor:
    """Ones on diagonal `k` (above the main one if positive) of an (n_rows, n_cols) matrix."""
    with _explained("eye"):
        dtype = real_dtype("eye", _or_float32(dtype))
        array = backend_named(device).xp.eye(n_rows, n_cols, k, dtype)
    return Tensor(array, requires_grad)


def zeros_like(x: Value, dtype: Any = None) -> Any:
    """Zeros of x's shape, device and (unless given) dtype; outside the graph."""
    return full_like(x, 0, dtype)


def ones_like(x: Value, dtype: Any = None) -> Any:
    """Ones of x's shape, device and (unless given) dtype; outside the graph."""
    return full_like(x, 1, dtype)


def full_like(x: Value, fill_value: float, dtype: Any = None) -> Any:
    """`fill_value` in x's shape, device and (unless given) dtype; outside the graph."""
    array = x.data if isinstance(x, Tensor) else raw(x)
    xp = backend_of([array]).xp
    dtype = array.dtype if dtype is None else real_dtype("full_like", dtype)
    y = _filled("full_like", xp, array.shape, fill_value, dtype)
    return Tensor(y) if isinstance(x, Tensor) else y


def default_dtype(*numbers: float) -> Any:
    """What Python numbers become: float32 if one is a float, int64 if one is an int, else bool."""
    for number in numbers:
        if not isinstance(number, (bool, int, float)):
            raise DtypeError(f"{number!r} is not a Python number; give an int, float or bool.")
    common: Array = backend_named("cpu").xp.result_type(*numbers)
    return "float32" if common.kind == "f" else common


def _filled(op: str, xp: Any, shape: Shape, value: float, dtype: Any) -> Array:
    default_dtype(value)  # refuses what is not a number
    if isinstance(shape, (str, bytes)):
        raise DtypeError(f"{op}: a shape is a length or a tuple of lengths, not {shape!r}.")
    if dtype.kind in "iu" and isinstance(value, float) and not value.is_integer():
        raise DtypeError(f"{op}: {dtype} cannot hold {value}; give an integer or a float dtype.")
    with _explained(op):
        return xp.full(shape, value, dtype)


def _or_float32(dtype: Any) -> Any:
    return "float32" if dtype is None else dtype


@contextmanager
def _explained(op: str) -> Iterator[None]:
    """NumPy's complaint as the documented error."""
    try:
        yield
    except TinygenError:
        raise
    except OverflowError as error:
        raise OutOfRangeError(f"{op}: {error}; choose a wider dtype.") from error
    except TypeError as error:
        raise DtypeError(f"{op}: {error}.") from error
    except ValueError as error:
        raise ShapeError(f"{op}: {error}.") from error
