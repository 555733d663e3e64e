"""The only place that knows what a device is.

A *back end* is what an op sees of a device: an array namespace `xp` with NumPy's names, and the
hot primitives (attention, normalisation, ...) as functions on raw arrays. An op never asks which
device it runs on; it uses `self.xp` and `self.backend`, which `Function.apply` takes from its
inputs. Devices are named "cpu", "cuda:0" and "sim"; this version has the CPU.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np

from tinygen.backend.numpy_backend import NumpyBackend, tune_allocator
from tinygen.errors import DeviceError, DtypeError, UnavailableError

__all__ = [
    "Array",
    "Backend",
    "backend_named",
    "backend_of",
    "plain_numbers",
    "raw",
    "tune_allocator",
]

Array: TypeAlias = Any
"""An array of some back end: `numpy.ndarray` on the CPU."""

Backend: TypeAlias = NumpyBackend

CPU = NumpyBackend()

PYTHON_SCALARS = (bool, int, float, type(None))
"""Inputs without a device or dtype of their own; `None` is an optional input left out."""

NUMBERS = frozenset("biufc")
"""The kinds of dtype that ops work on; complex for numeric derivatives alone."""


def backend_named(device: str) -> Backend:
    """The back end of a device name; `UnavailableError` if this machine or version lacks it."""
    if device == "cpu":
        return CPU
    if device == "sim" or str(device).startswith("cuda"):
        raise UnavailableError(
            f"device {device!r} is not available: this version of tinygen runs on the CPU. "
            'Use device="cpu".'
        )
    raise DeviceError(f'unknown device {device!r}: the devices are "cpu", "cuda:0" and "sim".')


def raw(value: Any) -> Array:
    """`value` as an array of its back end; Python scalars and `None` stay as they are."""
    if isinstance(value, (np.generic, np.ndarray)):
        if value.dtype.kind not in NUMBERS:
            raise DtypeError(f"an op takes arrays of numbers or booleans, not of {value.dtype}.")
        if type(value) is np.ndarray:
            return value if value.dtype.isnative else value.astype(value.dtype.newbyteorder("="))
        if isinstance(value, np.ma.MaskedArray):
            raise DtypeError("an op would lose the mask of a masked array; fill it: x.filled(0).")
        return np.asarray(value)  # a NumPy scalar, or a subclass such as memmap
    if isinstance(value, PYTHON_SCALARS):  # asked second, since np.float64 is also a float
        return value
    raise DtypeError(
        f"an op takes Tensors, arrays and Python numbers, not {type(value).__name__}. "
        "Make a Tensor of it first: tg.tensor(data)."
    )


def plain_numbers(params: dict[str, Any]) -> dict[str, Any]:
    """`params` with Python's numbers for NumPy's scalars: np.int64 is no int."""
    for value in params.values():
        if isinstance(value, np.generic):
            return {k: v.item() if isinstance(v, np.generic) else v for k, v in params.items()}
    return params


def backend_of(arrays: Iterable[Array]) -> Backend:
    """The back end that `arrays` live on."""
    for array in arrays:
        if type(array) is np.ndarray:
            return CPU
    raise DtypeError(
        "an op needs at least one Tensor or array among its inputs, and got only Python numbers. "
        "Make a Tensor first: tg.tensor(value)."
    )
