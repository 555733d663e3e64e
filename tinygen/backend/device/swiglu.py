"""SwiGLU by kernels/swiglu.cu."""

from __future__ import annotations

from math import gcd, prod
from typing import Any

import numpy as np

from tinygen.backend.device.launching import (
    DTYPES,
    blocks,
    contiguous,
    has_elements,
    persistent,
    type_of,
    vector,
)
from tinygen.backend.device.registry import serves
from tinygen.backend.device.rungs import rung_of
from tinygen.backend.launch import Kernel, launch

Array = Any


@serves("swiglu_forward", dtypes=DTYPES, fits=has_elements)
def swiglu_forward(backend: Any, gate: Array, up: Array) -> Array:
    """silu(gate) up."""
    y = backend.empty(gate.shape, gate.dtype)
    _launch(backend, "swiglu_forward", [y], None, gate, up)
    return y


@serves("swiglu_backward", dtypes=DTYPES, fits=has_elements)
def swiglu_backward(
    backend: Any, g: Array, gate: Array, up: Array, needs: tuple[bool, ...]
) -> tuple[Array | None, Array | None]:
    """(dgate, dup), None where `needs` does not ask for one."""
    dgate, dup = (backend.empty(gate.shape, gate.dtype) if need else None for need in needs)
    _launch(backend, "swiglu_backward", [dgate, dup], contiguous(backend, g), gate, up)
    return dgate, dup


def _launch(
    backend: Any, name: str, results: list[Array | None], g: Array | None, gate: Array, up: Array
) -> None:
    columns = gate.shape[-1] if gate.ndim else 1
    rows = prod(gate.shape[:-1])
    gate, up, stride = _alike(backend, *(a.reshape(rows, columns) for a in (gate, up)))
    width = vector(backend, gcd(columns, stride), gate, up, g, *results)
    fixed = {"TYPE": type_of(gate), "VECTOR": width}
    args = [*results, *([] if g is None else [g]), backend.span(gate), backend.span(up)]
    sizes = [np.int32(columns), np.int64(stride)]
    if rung_of(backend, "swiglu") == "naive":
        kernel, count = Kernel("swiglu.cu", f"{name}_naive", **fixed), rows * columns
        launch(backend, kernel, (blocks(count, 256),), (256,), [*args, np.int64(count), *sizes])
    else:
        across = blocks(columns, 32 * width)
        down = blocks(persistent(backend, across * blocks(rows, 8)), across)
        kernel = Kernel("swiglu.cu", name, **fixed)
        launch(backend, kernel, (across, down), (32, 8), [*args, np.int32(rows), *sizes])


def _alike(backend: Any, gate: Array, up: Array) -> tuple[Array, Array, int]:
    """Both with their elements side by side and their rows as far apart, and how far that is."""
    (row, column), others = gate.strides, up.strides
    if others != (row, column) or column != gate.itemsize or row < gate.shape[1] * column:
        gate, up = (contiguous(backend, a) for a in (gate, up))
        row = gate.strides[0]
    return gate, up, row // gate.itemsize
