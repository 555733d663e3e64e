"""The only place that knows what a device is.

A *back end* is what an op sees of a device: an array namespace `xp` with NumPy's names, and the
hot primitives (attention, normalisation, ...) as functions on raw arrays. An op never asks which
device it runs on; it uses `self.xp` and `self.backend`, which `Function.apply` takes from its
inputs. Devices are named "cpu", "cuda:0" and "sim".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from tinygen.arguments import is_bfloat16
from tinygen.backend.numpy_backend import NumpyBackend, tune_allocator
from tinygen.backend.numpy_backend.aligned import is_view
from tinygen.errors import DeviceError, DtypeError

__all__ = [
    "Array",
    "Backend",
    "backend_named",
    "backend_of",
    "in_use",
    "is_view",
    "plain_numbers",
    "raw",
    "require_one_device",
    "tune_allocator",
]

Array: TypeAlias = Any
"""An array of some back end: `numpy.ndarray` on the CPU."""


class Backend(Protocol):
    """A device, and by further attributes the primitives for which it has a fast path."""

    name: str
    xp: Any
    array_type: Any
    partial: bool
    """Whether it may lack primitives; an op runs its `reference` where `offers` says no."""
    caches: bool
    """Whether work in blocks of a cache's size is faster than all of it at once."""

    def offers(
        self, primitives: tuple[str, ...], arrays: Sequence[Array], params: Mapping[str, Any]
    ) -> bool:
        """Whether it has these primitives, for such inputs of an op."""

    def asarray(self, value: Any) -> Array:
        """`value`, an array of any device or a number, on this one."""

    def to_numpy(self, array: Array) -> Any:
        """An array of this device as a NumPy array."""

    def numbers(self, scalars: Sequence[Array]) -> list[float]:
        """Arrays of one element each as Python's numbers, brought here together."""

    def device_of(self, array: Array) -> str:
        """The name of the device that holds `array`."""

    def from_dlpack(self, x: Any) -> Array:
        """`x`, an array of any library on this device, in the memory that it has."""

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array whose elements are whatever they are."""

    def __getattr__(self, name: str) -> Any: ...


CPU: Any = NumpyBackend()

_BY_NAME: dict[str, Any] = {"cpu": CPU}
in_use: dict[type, Any] = {}
"""Back ends of devices in use other than the CPU, by the type of their arrays."""

PYTHON_SCALARS = (bool, int, float, type(None))
"""Inputs without a device or dtype of their own; `None` is an optional input left out."""

FLOAT32, FLOAT64 = np.dtype("float32"), np.dtype("float64")

NUMBERS = frozenset("biufc")
"""The kinds of dtype that ops work on; complex for numeric derivatives alone."""


def backend_named(device: str) -> Backend:
    """The back end of a device name; `UnavailableError` if this machine lacks it."""
    found = _BY_NAME.get(device)
    if found is None:
        _BY_NAME[device] = found = _loaded(device)
        in_use.setdefault(found.array_type, found)
    backend: Backend = found
    return backend


def _loaded(device: str) -> Any:
    if device == "sim":
        from tinygen.backend.sim import SimBackend

        return SimBackend()
    gpu = re.fullmatch(r"cuda(?::(\d+))?", str(device))
    if gpu:
        from tinygen.backend.cupy_backend import CupyBackend

        return CupyBackend(int(gpu[1] or 0))
    raise DeviceError(f'unknown device {device!r}: the devices are "cpu", "cuda:0" and "sim".')


def raw(value: Any) -> Array:
    """`value` as an array of its back end; Python scalars and `None` stay as they are."""
    if isinstance(value, (np.generic, np.ndarray)):
        if value.dtype.kind not in NUMBERS and not is_bfloat16(value.dtype):
            raise DtypeError(f"an op takes arrays of numbers or booleans, not of {value.dtype}.")
        if type(value) is np.ndarray:
            return value if value.dtype.isnative else value.astype(value.dtype.newbyteorder("="))
        if isinstance(value, np.ma.MaskedArray):
            raise DtypeError("an op would lose the mask of a masked array; fill it: x.filled(0).")
        return np.asarray(value)  # a NumPy scalar, or a subclass such as memmap
    if isinstance(value, PYTHON_SCALARS):  # asked second, since np.float64 is also a float
        return value
    if type(value) in in_use:
        return value
    raise DtypeError(
        f"an op takes Tensors, arrays and Python numbers, not {type(value).__name__}. "
        "Make a Tensor of it first: tg.tensor(data)."
    )


def of_one_dtype(values: Sequence[Any]) -> bool:
    """Whether all are NumPy's own arrays, of one of the floating-point dtypes that models compute
    in, or `None`: what most ops of a model without a graph are given."""
    dtype = None
    for value in values:
        if type(value) is np.ndarray:
            if dtype is None:
                dtype = value.dtype
                if dtype is not FLOAT32 and dtype is not FLOAT64:
                    return False
            elif value.dtype is not dtype:
                return False
        elif value is not None:
            return False
    return dtype is not None


def require_one_device(op: str, inputs: Iterable[tuple[str | int, Array]]) -> None:
    """Raise DeviceError where two of the `inputs` of an op, by name or position, are on different
    devices; what is no array is on none."""
    first = home = None
    for name, x in inputs:
        if not hasattr(x, "dtype"):
            continue
        name = name if isinstance(name, str) else f"input {name}"
        told, place = f"{name} ({x.dtype}{list(x.shape)})", backend_of([x]).device_of(x)
        if home is None:
            first, home = told, place
        elif place != home:
            away = place if home == "cpu" else home
            raise DeviceError(
                f"{op}: {first} is on {home!r} and {told} on {place!r}, and an op works on one "
                f"device. Move the other: x.to({away!r}), or a whole model: module.to({away!r})."
            )


def plain_numbers(params: dict[str, Any]) -> dict[str, Any]:
    """`params` with Python's numbers for NumPy's scalars: np.int64 is no int."""
    for value in params.values():
        if isinstance(value, np.generic):
            return {k: v.item() if isinstance(v, np.generic) else v for k, v in params.items()}
    return params


def backend_of(arrays: Sequence[Array]) -> Backend:
    """The back end that `arrays` live on."""
    for array in arrays:
        if type(array) is np.ndarray:
            return CPU
    for array in arrays:
        if type(array) in in_use:
            return in_use[type(array)]
    raise DtypeError(
        "an op needs at least one Tensor or array among its inputs, and got only Python numbers. "
        "Make a Tensor first: tg.tensor(value)."
    )
