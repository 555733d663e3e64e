"""An array of the simulated device: NumPy's behaviour, out of NumPy's reach.

It is no subclass of ndarray, and NumPy's functions refuse it, as they refuse an array on a GPU. So
an op that reaches past its `xp` fails here, on every machine, and not on the first GPU.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from tinygen.errors import DeviceError, InterchangeError

HIDDEN = frozenset(["ctypes", "data", "dump", "dumps", "tobytes", "tofile"])
"""Attributes of ndarray that would give host memory away."""


class SimArray:
    """`host` is the memory of the device, which is host memory in truth; only the back end and the
    launcher of kernels name it."""

    __slots__ = ("__weakref__", "host")

    host: np.ndarray[Any, Any]
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, host: np.ndarray[Any, Any]) -> None:
        self.host = host

    # ---- what NumPy may not do

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise DeviceError(
            'an array of the device "sim" met NumPy, which works on the CPU alone. Move the other '
            'operand with x.to("sim"), or this one with x.to("cpu").'
        )

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self.__array__()

    def __array_function__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self.__array__()

    def __dlpack_device__(self) -> tuple[int, int]:
        """kDLExtDev of dlpack.h: a device that only its own library can read."""
        return (12, 0)

    def __dlpack__(self, **wishes: Any) -> NoReturn:
        raise InterchangeError(
            'DLPack: no other library reads the memory of the device "sim". Ask for a copy on the '
            'CPU: np.from_dlpack(x, device="cpu"), or x.to("cpu").'
        )

    # ---- what an array is and does

    def __getattr__(self, name: str) -> Any:
        """ndarray's attributes and methods, on the device."""
        if name.startswith("_") or name in HIDDEN:
            raise AttributeError(f"an array of the device 'sim' has no attribute {name!r}")
        found = getattr(self.host, name)
        return on_device(found) if callable(found) else wrapped(found)

    def __len__(self) -> int:
        return len(self.host)

    def __iter__(self) -> Iterator[Any]:
        return (wrapped(item) for item in self.host)

    def __getitem__(self, key: Any) -> SimArray:
        result: SimArray = wrapped(self.host[unwrapped(key)])
        return result

    def __setitem__(self, key: Any, value: Any) -> None:
        self.host[unwrapped(key)] = unwrapped(value)

    def __bool__(self) -> bool:
        return bool(self.host)

    def __int__(self) -> int:
        return int(self.host)

    def __float__(self) -> float:
        return float(self.host)

    def __index__(self) -> int:
        return operator.index(self.host)

    def __copy__(self) -> SimArray:
        return SimArray(self.host.copy())

    def __deepcopy__(self, memo: dict[int, Any]) -> SimArray:
        return SimArray(copy.deepcopy(self.host, memo))

    def __repr__(self) -> str:
        return f"SimArray({self.host!r})"


def unwrapped(value: Any) -> Any:
    """`value` with the memory of its device arrays in their place. DeviceError for host arrays."""
    if isinstance(value, SimArray):
        return value.host
    if isinstance(value, np.ndarray):
        raise DeviceError(
            'an array of the CPU met one of the device "sim"; move it there first: x.to("sim").'
        )
    if isinstance(value, (tuple, list)):
        return type(value)(unwrapped(item) for item in value)
    if isinstance(value, dict):
        return {name: unwrapped(item) for name, item in value.items()}
    return value


def wrapped(value: Any) -> Any:
    """`value` with its NumPy arrays, and scalars that came of arrays, as device arrays."""
    if isinstance(value, np.ndarray):
        return SimArray(value)
    if isinstance(value, np.generic):
        return SimArray(np.asarray(value))
    if isinstance(value, (tuple, list)) and any(isinstance(item, np.ndarray) for item in value):
        return type(value)(wrapped(item) for item in value)
    return value


def on_device(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of host arrays as one of device arrays."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return wrapped(function(*unwrapped(args), **unwrapped(kwargs)))

    return call


def _operator(name: str) -> Callable[..., Any]:
    def apply(self: SimArray, *others: Any) -> Any:
        if any(not isinstance(other, (SimArray, int, float, np.generic)) for other in others):
            unwrapped(others)  # a host array is an error,
            return NotImplemented  # and a Tensor has operators of its own
        return wrapped(getattr(self.host, name)(*unwrapped(others)))

    return apply


def _in_place(name: str) -> Callable[..., Any]:
    def apply(self: SimArray, other: Any) -> SimArray:
        getattr(self.host, name)(unwrapped(other))
        return self

    return apply


_BINARY = (
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"),
    *("and", "or", "xor", "lshift", "rshift"),
)
_OTHERS = ("eq", "ne", "lt", "le", "gt", "ge", "neg", "pos", "abs", "invert")

for _name in (*_BINARY, *(f"r{name}" for name in _BINARY), *_OTHERS):
    setattr(SimArray, f"__{_name}__", _operator(f"__{_name}__"))
for _name in _BINARY:
    setattr(SimArray, f"__i{_name}__", _in_place(f"__i{_name}__"))
