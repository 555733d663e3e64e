"""Softmax and its logarithm along any axis, by kernels/softmax.cu on rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.backend.device.launching import (
    DTYPES,
    as_matrix,
    blocks,
    has_elements,
    like,
    rows_grid,
    rung_of_rows,
    team,
    type_of,
    vector,
)
from tinygen.backend.device.registry import serves
from tinygen.backend.launch import Kernel, launch

Array = Any

FORWARD = {"naive": "naive", "online": "online", "registers": "forward"}
BACKWARD = {"naive": "backward_naive", "online": "backward_long", "registers": "backward"}


@serves("softmax", dtypes=DTYPES, fits=has_elements)
def softmax(backend: Any, x: Array, axis: int = -1) -> Array:
    """exp(x) / sum exp(x) along `axis`."""
    return _by_rows(backend, "softmax", FORWARD, axis, x)


@serves("softmax_backward", dtypes=DTYPES, fits=has_elements)
def softmax_backward(backend: Any, g: Array, y: Array, axis: int = -1) -> Array:
    """dx = y (g - sum(g y)), where y = softmax(x)."""
    return _by_rows(backend, "softmax", BACKWARD, axis, g, y)


@serves("log_softmax", dtypes=DTYPES, fits=has_elements)
def log_softmax(backend: Any, x: Array, axis: int = -1) -> Array:
    """x - log sum exp(x) along `axis`."""
    return _by_rows(backend, "log_softmax", FORWARD, axis, x)


@serves("log_softmax_backward", dtypes=DTYPES, fits=has_elements)
def log_softmax_backward(backend: Any, g: Array, y: Array, axis: int = -1) -> Array:
    """dx = g - exp(y) sum(g), where y = log_softmax(x)."""
    return _by_rows(backend, "log_softmax", BACKWARD, axis, g, y)


def _by_rows(
    backend: Any, operation: str, parts: dict[str, str], axis: int, *inputs: Array
) -> Array:
    """The kernel of a rung along `axis` of the inputs; `parts` are the ends of their names."""
    moved = [backend.xp.moveaxis(a, axis, -1) for a in inputs]
    sources = [as_matrix(backend, a) for a in moved]
    rows, columns = sources[0].shape
    out = like(backend, sources[0])
    rung = rung_of_rows(backend, operation, out)
    name = f"{operation}_{parts[rung]}"
    fixed: dict[str, object] = {"TYPE": type_of(out)}
    if rung == "registers":
        width = vector(backend, columns, out, *sources)
        threads = team(columns, width)
        fixed |= {"COLUMNS": columns, "THREADS": threads, "VECTOR": width}
        grid, sizes = rows_grid(backend, rows, threads), [np.int32(rows)]
    elif rung == "online":
        grid, sizes = ((rows,), (256,)), [np.int32(columns)]
    else:
        grid, sizes = ((blocks(rows, 256),), (256,)), [np.int32(rows), np.int32(columns)]
    launch(backend, Kernel("softmax.cu", name, **fixed), *grid, [out, *sources, *sizes])
    return backend.xp.moveaxis(out.reshape(moved[0].shape), -1, axis)
