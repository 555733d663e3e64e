"""Softmax and its logarithm along any axis, by kernels/softmax.cu on rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.backend.device.launching import (
    DTYPES,
    as_matrix,
    has_elements,
    in_registers,
    like,
    rows_grid,
    team,
    type_of,
    vector,
)
from tinygen.backend.device.registry import serves
from tinygen.backend.launch import Kernel, launch

Array = Any


@serves("softmax", dtypes=DTYPES, fits=has_elements)
def softmax(backend: Any, x: Array, axis: int = -1) -> Array:
    """exp(x) / sum exp(x) along `axis`."""
    return _by_rows(backend, "softmax_forward", "softmax_online", axis, x)


@serves("softmax_backward", dtypes=DTYPES, fits=has_elements)
def softmax_backward(backend: Any, g: Array, y: Array, axis: int = -1) -> Array:
    """dx = y (g - sum(g y)), where y = softmax(x)."""
    return _by_rows(backend, "softmax_backward", "softmax_backward_long", axis, g, y)


@serves("log_softmax", dtypes=DTYPES, fits=has_elements)
def log_softmax(backend: Any, x: Array, axis: int = -1) -> Array:
    """x - log sum exp(x) along `axis`."""
    return _by_rows(backend, "log_softmax_forward", "log_softmax_online", axis, x)


@serves("log_softmax_backward", dtypes=DTYPES, fits=has_elements)
def log_softmax_backward(backend: Any, g: Array, y: Array, axis: int = -1) -> Array:
    """dx = g - exp(y) sum(g), where y = log_softmax(x)."""
    return _by_rows(backend, "log_softmax_backward", "log_softmax_backward_long", axis, g, y)


def _by_rows(backend: Any, name: str, long: str, axis: int, *inputs: Array) -> Array:
    """The kernel `name` where rows lie in registers, else `long`, along `axis` of the inputs."""
    moved = [backend.xp.moveaxis(a, axis, -1) for a in inputs]
    sources = [as_matrix(backend, a) for a in moved]
    rows, columns = sources[0].shape
    out = like(backend, sources[0])
    if in_registers(out):
        width = vector(backend, columns, out, *sources)
        threads = team(columns, width)
        fixed = {"COLUMNS": columns, "THREADS": threads, "VECTOR": width}
        kernel = Kernel("softmax.cu", name, TYPE=type_of(out), **fixed)
        launch(backend, kernel, *rows_grid(backend, rows, threads), [out, *sources, np.int32(rows)])
    else:
        kernel = Kernel("softmax.cu", long, TYPE=type_of(out))
        launch(backend, kernel, (rows,), (256,), [out, *sources, np.int32(columns)])
    return backend.xp.moveaxis(out.reshape(moved[0].shape), -1, axis)
