"""One safetensors file, read and written in blocks: nothing is ever there twice.

    8 bytes: the length n of the header      n bytes: JSON      the arrays, one after another

The package safetensors needs PyTorch or ml_dtypes for bfloat16 and gives an array of its own for
each one in the file. Here an array is read block by block into its place, bfloat16 and float16
widened on the way, and memory holds the model and one block. The file is read, not mapped into
memory: a mapped file counts as memory of the process, and one that another process cuts short ends
this one.

The header is believed only where it is consistent: known dtypes, shapes that agree with their
bytes, arrays that cover the file without a gap or an overlap (as the format demands).
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from tinygen.errors import CheckpointError
from tinygen.files import StrPath

Array = np.ndarray[Any, Any]

BLOCK = 1 << 22
"""Bytes that are read at a time, or one row of an array where that is more."""

LONGEST_HEADER = 100_000_000
"""Bytes: the limit of the format's own library."""

DTYPES = {
    **{f"F{8 * n}": f"<f{n}" for n in (2, 4, 8)},
    **{f"I{8 * n}": f"<i{n}" for n in (1, 2, 4, 8)},
    **{f"U{8 * n}": f"<u{n}" for n in (1, 2, 4, 8)},
    "BF16": "<u2",
    "BOOL": "|b1",
}
"""The format's names, and how NumPy reads their bytes."""

FLOATS = ("F16", "BF16", "F32", "F64")


@dataclass(frozen=True)
class Entry:
    """An array in a file: its dtype by the format's name, its shape, where its bytes begin."""

    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * np.dtype(DTYPES[self.dtype]).itemsize


class TensorFile:
    """An open safetensors file: `entries` by name, and `read_into(name, out)`.

    Raises CheckpointError for what is missing, unreadable or damaged. To be used with `with`.
    """

    def __init__(self, path: StrPath) -> None:
        self.path = Path(path)
        try:
            self._file = open(self.path, "rb")  # noqa: SIM115  # closed by __exit__
        except FileNotFoundError as error:
            raise CheckpointError(f"{path} is missing; restore it") from error
        except OSError as error:
            raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
        try:
            self.entries = self._read_header()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read_into(self, name: str, out: Array) -> None:
        """Copy the floating-point array `name` into `out`, of its shape and any float dtype.

        Raises CheckpointError where a number is not finite, or is too large for `out`.
        """
        entry = self.entries[name]
        rows = out if out.ndim else out[None]
        row_bytes = max(1, entry.nbytes // max(1, len(rows)))
        step = max(1, BLOCK // row_bytes)
        stored = np.empty((min(step, len(rows)), *rows.shape[1:]), DTYPES[entry.dtype])
        self._file.seek(entry.start)
        for first in range(0, len(rows), step):
            target = rows[first : first + step]
            block = stored[: len(target)]
            if self._file.readinto(block.data.cast("B")) != block.nbytes:
                raise self._damaged("it was cut short while it was read")
            with np.errstate(over="ignore"):
                target[...] = widened(block) if entry.dtype == "BF16" else block
            if not np.isfinite(target).all():
                raise CheckpointError(
                    f"{name} in {self.path} has values that are not finite in {out.dtype}; "
                    "use another checkpoint"
                )

    def _read_header(self) -> dict[str, Entry]:
        size = os.fstat(self._file.fileno()).st_size
        head = self._file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else LONGEST_HEADER + 1
        if length > min(LONGEST_HEADER, size - 8):
            raise self._damaged(f"its {size} bytes hold no header")
        try:
            header = json.loads(self._file.read(length), object_pairs_hook=_without_repetition)
            if not isinstance(header, dict):
                raise ValueError("it is no table")
            header.pop("__metadata__", None)
            entries = {name: _entry(name, value, 8 + length) for name, value in header.items()}
        except (ValueError, RecursionError) as error:
            raise self._damaged(
                f"its header is not that of a safetensors file ({error})"
            ) from error
        end = 8 + length
        for name, entry in sorted(
            entries.items(), key=lambda item: (item[1].start, item[1].nbytes)
        ):
            if entry.start != end:
                raise self._damaged(f"{name} does not begin where the array before it ends")
            end += entry.nbytes
        if end != size:
            raise self._damaged(f"it has {size} bytes, and its header describes {end}")
        return entries

    def _damaged(self, reason: str) -> CheckpointError:
        return CheckpointError(f"{self.path} is damaged: {reason}; restore it")


def write_tensors(path: StrPath, tensors: Mapping[str, Array]) -> None:
    """Write floating-point arrays as the new safetensors file `path`, in blocks.

    They may be views of any layout. Not atomic: to be called inside `files.atomic_folder`.
    """
    names = {np.dtype(code): name for name, code in DTYPES.items() if name in FLOATS[2:]}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # which transformers asks for
    start = 0
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": names[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, start + tensor.nbytes],
        }
        start += tensor.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # arrays begin at multiples of 8 bytes
    with open(path, "xb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            rows = tensor if tensor.ndim else tensor[None]
            step = max(1, BLOCK // max(1, tensor.nbytes // max(1, len(rows))))
            for first in range(0, len(rows), step):
                block = np.ascontiguousarray(rows[first : first + step])
                file.write(block.data.cast("B"))


def widened(bits: Array) -> Array:
    """bfloat16 as float32, exactly: its 16 bits are the upper ones of the float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def read_json(path: StrPath) -> dict[str, Any]:
    """The table in a JSON file that others wrote. Raises CheckpointError."""
    try:
        with open(path, "rb") as file:
            value = json.loads(file.read(), object_pairs_hook=_without_repetition)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; restore it") from error
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: it is no JSON ({error}); restore it") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is damaged: it is no table of settings; restore it")
    return value


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A table whose keys are there once: of two, readers would believe different ones."""
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name is there twice")
    return table


def _entry(name: str, value: Any, start: int) -> Entry:
    """What the header says of one array. Raises ValueError where it cannot be."""
    if not isinstance(value, dict):
        raise ValueError(f"{name!r} is no table")
    dtype: Any = value.get("dtype")
    shape: Any = value.get("shape")
    offsets: Any = value.get("data_offsets")
    if dtype not in DTYPES:
        raise ValueError(f"{name!r} is of the dtype {dtype!r}, which is not read here")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"{name!r} has no shape, or no place")
    entry = Entry(dtype, tuple(shape), start + offsets[0])
    if offsets[1] - offsets[0] != entry.nbytes:
        raise ValueError(f"{name!r} has not as many bytes as its shape")
    return entry


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(n) is int and 0 <= n < 2**63 for n in values)
