"""DLPack: memory shared with other array libraries, by the protocol of the Python array API
standard (2023.12, "Data interchange mechanisms").

The arrays of NumPy and CuPy speak it themselves. Here stands what they leave open: where an export
may go, what is exported as a copy, and the sentences of refusals. The device "sim" is to NumPy
what a GPU is: its memory is out of reach, and a copy on the CPU is not.
"""

from __future__ import annotations

from typing import Any

from tinygen.arguments import is_real
from tinygen.backend import Array, backend_named, backend_of
from tinygen.errors import DeviceError, DtypeError, InterchangeError, TinygenError

Place = tuple[int, int]
"""A DLDeviceType of dlpack.h, and the number of the device."""

CPU: Place = (1, 0)

NAMES = {1: "cpu", 2: "cuda:{}", 3: "cpu", 12: "sim", 13: "cuda:{}"}
"""Devices by type: CPU, CUDA, CUDA's pinned host memory, an extension that only its own library
reads, CUDA's managed memory."""


def exported(
    array: Array,
    *,
    stream: Any = None,
    max_version: tuple[int, int] | None = None,
    dl_device: Place | None = None,
    copy: bool | None = None,
) -> Any:
    """A capsule of `array`, as its `__dlpack__` is asked for one.

    Copied, unless copy=False forbids it, is what the consumer could not read in place: a device's
    memory for the CPU; negative strides, at which PyTorch ends the process; a read-only array where
    a consumer older than DLPack 1.0 would not know. Raises InterchangeError.
    """
    backend = backend_of([array])
    moves = dl_device is not None and dl_device != array.__dlpack_device__()
    if moves and dl_device != CPU:
        raise InterchangeError(
            f"DLPack: a tensor on {backend.device_of(array)!r} is exported there or, as a copy, to "
            f"the CPU, {CPU}, and not to {dl_device}; move it first with x.to(device)."
        )
    needs_copy = _why_copied(array, max_version, moves)
    if needs_copy and copy is False:
        raise InterchangeError(
            f"DLPack: {needs_copy} is exported as a copy alone, and copy=False forbids it; leave "
            "that out."
        )
    if needs_copy:
        array, copy = backend.to_numpy(array) if moves else array.copy(), None
    wishes = {"stream": stream, "max_version": max_version, "copy": copy}
    try:
        return array.__dlpack__(**{name: wish for name, wish in wishes.items() if wish is not None})
    except TinygenError:
        raise
    except (BufferError, RuntimeError) as error:
        raise InterchangeError(
            f"DLPack: a tensor of dtype {array.dtype} cannot be exported so: {error} Ask for "
            "another form, or convert it first with x.astype(dtype) or x.to(device)."
        ) from error


def _why_copied(array: Array, max_version: tuple[int, int] | None, moves: bool) -> str:
    """What about `array` cannot be shared; nothing, if it can."""
    if moves:
        return "memory of another device"
    if any(stride < 0 for stride in array.strides):
        return f"an array with negative strides, {array.strides},"
    read_only = not getattr(array.flags, "writeable", True)  # no array of CuPy is
    if read_only and (max_version is None or max_version[0] < 1):
        return "a read-only array, for a consumer older than DLPack 1.0,"
    return ""


def imported(x: Any, *, device: str | None = None, copy: bool | None = None) -> Array:
    """The array of `x`, which is one of any library; in the memory of `x`, unless `copy` or another
    `device` is asked for. Raises DtypeError, DeviceError, InterchangeError, UnavailableError."""
    if not (hasattr(x, "__dlpack__") and hasattr(x, "__dlpack_device__")):
        raise DtypeError(
            f"from_dlpack takes an array of a library that speaks DLPack, not {type(x).__name__}. "
            "Copy the data instead: tg.tensor(data)."
        )
    try:
        kind, index = x.__dlpack_device__()
        if kind not in NAMES:
            raise DeviceError(
                f"from_dlpack: this {type(x).__name__} is on a device of DLPack's type {kind}, "
                "which tinygen cannot read; move it to the CPU in its own library."
            )
        source = backend_named(NAMES[kind].format(index))
        target = source if device is None else backend_named(device)
        if target is not source and copy is False:
            raise InterchangeError(
                f"from_dlpack: from {source.name!r} to {target.name!r} goes a copy alone, and "
                "copy=False forbids it; leave that out."
            )
        array = source.from_dlpack(x)
    except TinygenError:
        raise
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise InterchangeError(
            f"from_dlpack: this {type(x).__name__} cannot be shared: {error} Convert it in its own "
            "library first."
        ) from error
    if not is_real(array.dtype):
        raise DtypeError(
            f"a tensor holds booleans, integers or real numbers, not {array.dtype}. Convert the "
            "data first."
        )
    if target is not source:
        return target.asarray(source.to_numpy(array))
    return array.copy() if copy else array
