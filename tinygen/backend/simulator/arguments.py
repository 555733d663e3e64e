"""A kernel's arguments: what Python gives against what the kernel's signature takes."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygen.backend.signature import (
    POINTER_TO_CONST,
    VALUE,
    Parameter,
    require_array,
    require_count,
    require_value,
)
from tinygen.errors import ShapeError


class Buffer(NamedTuple):
    begin: int
    end: int
    name: str
    read_only: bool
    array: np.ndarray[Any, Any]


class TensorMap:
    """A window that bulk copies (TMA) move over an array.

    `box` is the tile of one copy, like `array.shape` slowest dimension first; `swizzle` the span in
    bytes (0, 32, 64, 128) whose 16-byte pieces are exchanged among the rows in shared memory.
    """

    def __init__(self, array: np.ndarray[Any, Any], box: Sequence[int], swizzle: int = 128) -> None:
        if not 1 <= array.ndim <= 5 or len(box) != array.ndim:
            raise ShapeError(
                f"a tensor map has one to five dimensions and a box of as many; "
                f"got {array.shape} and {tuple(box)}."
            )
        if array.strides[-1] != array.itemsize:
            raise ShapeError("the last axis of a tensor map's array must be contiguous.")
        self.array, self.box, self.swizzle = array, tuple(box), swizzle

    def packed(self) -> bytes:
        """The 128 bytes of sim::TensorMap (abi.hpp): dimension 0 is the fastest."""
        array, ndim = self.array, self.array.ndim
        sizes = [*reversed(array.shape), *[1] * (5 - ndim)]
        boxes = [*reversed(self.box), *[1] * (5 - ndim)]
        strides = [*reversed(array.strides[:-1]), *[0] * (5 - ndim)]
        head = (array.ctypes.data, ndim, array.itemsize, self.swizzle, 0)
        return struct.pack("<QIIII4Q5I5I", *head, *strides, *sizes, *boxes).ljust(128, b"\0")


def pack(
    kernel: str, parameters: Sequence[Parameter], values: Sequence[Any]
) -> tuple[Any, list[Buffer], Any]:
    """Pointers to the arguments' bytes, the kernel's buffers, and what must stay alive meanwhile.

    Raises `ShapeError` for another number of arguments or an array that is not contiguous, and
    `DtypeError` for an argument of another type than the parameter's.
    """
    require_count(kernel, parameters, values)
    buffers: list[Buffer] = []
    items = [
        _bytes(kernel, parameter, value, buffers)
        for parameter, value in zip(parameters, values, strict=True)
    ]
    offsets, end = [], 0
    for parameter, item in zip(parameters, items, strict=True):
        align = 64 if len(item) >= 64 else 16 if parameter.size > 8 else 8
        end += -end % align
        offsets.append(end)
        end += len(item)
    storage = ctypes.create_string_buffer(end + 64)
    start = ctypes.addressof(storage)
    start += -start % 64
    for offset, item in zip(offsets, items, strict=True):
        ctypes.memmove(start + offset, item, len(item))
    pointers = (ctypes.c_void_p * len(items))(*[start + offset for offset in offsets])
    # A buffer that two parameters share is read-only only if both say so: the mutable come first.
    buffers.sort(key=lambda buffer: buffer.read_only)
    return pointers, buffers, storage


def _bytes(kernel: str, parameter: Parameter, value: Any, buffers: list[Buffer]) -> bytes:
    if parameter.kind == VALUE:
        if isinstance(value, TensorMap) and parameter.size == 128:
            array = value.array
            _add(buffers, array, parameter, read_only=not array.flags.writeable)
            return value.packed()
        require_value(kernel, parameter, value)
        return bytes(value.tobytes())
    require_array(kernel, parameter, value, np.ndarray)
    if value is None:
        return bytes(8)
    read_only = parameter.kind == POINTER_TO_CONST or not value.flags.writeable
    return struct.pack("<Q", _add(buffers, value, parameter, read_only=read_only))


def _add(
    buffers: list[Buffer], array: np.ndarray[Any, Any], parameter: Parameter, *, read_only: bool
) -> int:
    begin = int(array.__array_interface__["data"][0])
    end = begin + array.nbytes
    if array.ndim and not array.flags.c_contiguous:  # of a tensor map: up to its last element
        last = sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True))
        end = begin + last + array.itemsize
    buffers.append(Buffer(begin, end, parameter.name, read_only, array))
    return begin
