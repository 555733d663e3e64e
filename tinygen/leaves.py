"""New leaf Tensors from what others made: lists, numbers, arrays, the memory of another library."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.arguments import FLOATS, dtype_named, is_real
from tinygen.backend import backend_named, dlpack, raw
from tinygen.errors import DtypeError, ShapeError
from tinygen.tensor import Tensor


def tensor(
    data: Any, dtype: Any = None, device: str = "cpu", requires_grad: bool = False
) -> Tensor:
    """A new leaf Tensor holding a copy of `data`: nested lists, numbers, arrays or a Tensor.

    Arrays keep their dtype. Python floats become float32, integers int64, booleans bool.
    """
    if isinstance(data, Tensor):
        data = data.data
    keeps_dtype = hasattr(data, "dtype")
    try:
        array = np.array(raw(data) if keeps_dtype else data, dtype=None)
        if dtype is not None:
            array = _converted(array, dtype)
    except TypeError as error:
        raise DtypeError(
            f"tensor: {error}. Give numbers, and a dtype such as 'float32'."
        ) from error
    except (ValueError, OverflowError) as error:
        raise ShapeError(
            f"tensor: {error}. Give nested lists of equal lengths, numbers that fit the dtype, or "
            "an array."
        ) from error
    if not is_real(array.dtype):
        raise DtypeError(
            f"a tensor holds booleans, integers or real numbers, not {array.dtype}. Convert the "
            "data first."
        )
    if dtype is None and not keeps_dtype:
        if array.dtype.kind == "u":
            raise DtypeError(
                f"tensor: {data!r} does not fit int64. Give an array with the dtype that you want."
            )
        array = array.astype("float32") if array.dtype.kind == "f" else array
    return Tensor(backend_named(device).asarray(array), requires_grad)


def from_dlpack(x: Any, /, *, device: str | None = None, copy: bool | None = None) -> Tensor:
    """A new leaf Tensor in the memory of `x`, an array of any library that speaks DLPack.

    On another `device`, and with copy=True, it has memory of its own. A tensor that `x` exports
    read-only is read-only here too, as is one by NumPy of an exporter older than DLPack 1.0. Raises
    DtypeError for what no tensor holds, DeviceError and UnavailableError for devices out of reach,
    InterchangeError where copy=False asks too much or the exporter refuses.
    """
    source = x.array_to_share() if isinstance(x, Tensor) else x
    return Tensor(dlpack.imported(source, device=device, copy=copy))


def _converted(array: np.ndarray[Any, Any], dtype: Any) -> np.ndarray[Any, Any]:
    """`array` as `dtype`; NaN and infinity are no integers."""
    wanted = dtype_named("tensor", dtype)
    if array.dtype.kind in FLOATS and wanted.kind in "iu" and not np.isfinite(array).all():
        raise DtypeError(f"{wanted} cannot hold NaN or infinity; keep a float dtype.")
    return array.astype(wanted)
