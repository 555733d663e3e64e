"""Layer norm and RMS norm by kernels/norm.cu."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.backend.device.launching import (
    DTYPES,
    THREADS_WITH_SUMS,
    as_matrix,
    blocks,
    column_sums,
    contiguous,
    has_elements,
    like,
    persistent,
    rows_grid,
    rung_of_rows,
    team,
    type_of,
    vector,
)
from tinygen.backend.device.registry import serves
from tinygen.backend.launch import Kernel, launch

Array = Any


@serves("layer_norm_forward", dtypes=DTYPES, fits=has_elements)
def layer_norm_forward(
    backend: Any, x: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """x (..., n) -> y (..., n), mean (rows,) and rstd (rows,), both float32."""
    y, _, mean, rstd = _forward(backend, "layer_norm", x, None, weight, bias, eps)
    return y, mean, rstd


@serves("rms_norm_forward", dtypes=DTYPES, fits=has_elements)
def rms_norm_forward(
    backend: Any, x: Array, weight: Array | None, eps: float
) -> tuple[Array, Array]:
    """x (..., n) -> y (..., n), rstd (rows,) float32."""
    y, _, rstd = _forward(backend, "rms_norm", x, None, weight, None, eps)
    return y, rstd


@serves("add_layer_norm_forward", dtypes=DTYPES, fits=has_elements)
def add_layer_norm_forward(
    backend: Any, x: Array, residual: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array, Array]:
    """x, residual (..., n) -> y, their sum (..., n), and its mean and rstd (rows,) float32."""
    y, total, mean, rstd = _forward(backend, "layer_norm", x, residual, weight, bias, eps)
    return y, total, mean, rstd


@serves("add_rms_norm_forward", dtypes=DTYPES, fits=has_elements)
def add_rms_norm_forward(
    backend: Any, x: Array, residual: Array, weight: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """x, residual (..., n) -> y, their sum (..., n), and its rstd (rows,) float32."""
    y, total, rstd = _forward(backend, "rms_norm", x, residual, weight, None, eps)
    return y, total, rstd


@serves("layer_norm_backward", dtypes=DTYPES, fits=has_elements)
def layer_norm_backward(
    backend: Any,
    g: Array,
    x: Array,
    weight: Array | None,
    mean: Array,
    rstd: Array,
    needs: tuple[bool, ...],
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients (dx, dweight, dbias), None where `needs` does not ask for one."""
    return _backward(backend, "layer_norm", g, None, x, weight, mean, rstd, needs)


@serves("rms_norm_backward", dtypes=DTYPES, fits=has_elements)
def rms_norm_backward(
    backend: Any, g: Array, x: Array, weight: Array | None, rstd: Array, needs: tuple[bool, ...]
) -> tuple[Array | None, Array | None]:
    """Gradients (dx, dweight), None where `needs` does not ask for one."""
    needs = *needs, False
    dx, dweight, _ = _backward(backend, "rms_norm", g, None, x, weight, None, rstd, needs)
    return dx, dweight


@serves("add_layer_norm_backward", dtypes=DTYPES, fits=has_elements)
def add_layer_norm_backward(
    backend: Any,
    g: Array,
    g_total: Array,
    total: Array,
    weight: Array | None,
    mean: Array,
    rstd: Array,
    needs: tuple[bool, ...],
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients (dx, dweight, dbias); that of the residual is dx too."""
    return _backward(backend, "layer_norm", g, g_total, total, weight, mean, rstd, needs)


@serves("add_rms_norm_backward", dtypes=DTYPES, fits=has_elements)
def add_rms_norm_backward(
    backend: Any,
    g: Array,
    g_total: Array,
    total: Array,
    weight: Array | None,
    rstd: Array,
    needs: tuple[bool, ...],
) -> tuple[Array | None, Array | None]:
    """Gradients (dx, dweight); that of the residual is dx too."""
    needs = *needs, False
    dx, dweight, _ = _backward(backend, "rms_norm", g, g_total, total, weight, None, rstd, needs)
    return dx, dweight


def _forward(
    backend: Any,
    name: str,
    x: Array,
    residual: Array | None,
    weight: Array | None,
    bias: Array | None,
    eps: float,
) -> tuple[Array, ...]:
    """y, x + residual if there is one, and the statistics."""
    source = as_matrix(backend, x)
    rows, columns = source.shape
    y = like(backend, source)
    of_layer = name == "layer_norm"
    statistics = [backend.empty((rows,), np.float32) for _ in range(1 + of_layer)]
    affine = [v if v is None else contiguous(backend, v) for v in (weight, bias)][: 1 + of_layer]
    rung, sizes = rung_of_rows(backend, name, source), [np.int32(columns), np.float32(eps)]
    past = total = None
    if residual is not None and rung == "registers":
        past, total = as_matrix(backend, residual), like(backend, source)
    elif residual is not None:
        total = source = source + as_matrix(backend, residual)
    if rung == "registers":
        threads, fixed = _fixed(backend, source, past, y, total, *affine)
        args = [y, total, *statistics, source, past, *affine, np.int32(rows), np.float32(eps)]
        grid = rows_grid(backend, rows, threads)
        launch(backend, Kernel("norm.cu", f"{name}_forward", **fixed), *grid, args)
    elif rung == "block":
        args = [y, *statistics, source, *affine, *sizes]
        kernel = Kernel("norm.cu", f"{name}_long", TYPE=type_of(x))
        launch(backend, kernel, (rows,), (256,), args)
    else:
        args = [y, *statistics, source, *affine, np.int32(rows), *sizes]
        kernel = Kernel("norm.cu", f"{name}_naive", TYPE=type_of(x))
        launch(backend, kernel, (blocks(rows, 256),), (256,), args)
    return y.reshape(x.shape), None if total is None else total.reshape(x.shape), *statistics


def _backward(
    backend: Any,
    name: str,
    g: Array,
    past: Array | None,
    x: Array,
    weight: Array | None,
    mean: Array | None,
    rstd: Array,
    needs: tuple[bool, ...],
) -> tuple[Array | None, Array | None, Array | None]:
    """`past` is the gradient that reaches x past the norm, if any does."""
    grad, source = as_matrix(backend, g), as_matrix(backend, x)
    past = past if past is None else as_matrix(backend, past)
    weight = weight if weight is None else contiguous(backend, weight)
    rows, columns = source.shape
    of_layer = name == "layer_norm"
    statistics = [mean, rstd] if of_layer else [rstd]
    dx = like(backend, source) if needs[0] else None

    def partial(slices: int) -> list[Array | None]:
        return [backend.empty((slices, columns), np.float32) if n else None for n in needs[1:]]

    rung = rung_of_rows(backend, name, source)
    if rung == "registers":
        threads, fixed = _fixed(backend, source, grad, dx, past, weight)
        grid, block = rows_grid(backend, rows, threads, THREADS_WITH_SUMS)
        sums = partial(grid[0])
        args = [dx, *sums[: 1 + of_layer], grad, source, weight, *statistics, past, np.int32(rows)]
        launch(backend, Kernel("norm.cu", f"{name}_backward", **fixed), grid, block, args)
    else:
        args = [dx, grad, source, weight, *statistics]
        if dx is not None and rung == "block":
            kernel = Kernel("norm.cu", f"{name}_backward_long", TYPE=type_of(x))
            launch(backend, kernel, (rows,), (256,), [*args, np.int32(columns)])
        elif dx is not None:
            kernel = Kernel("norm.cu", f"{name}_backward_naive", TYPE=type_of(x))
            args += [np.int32(rows), np.int32(columns)]
            launch(backend, kernel, (blocks(rows, 256),), (256,), args)
        across = blocks(columns, 32)
        slices = blocks(persistent(backend, across * blocks(rows, 32), 1024), across)
        sums = partial(slices)
        if any(needs[1:]):
            args = [*sums, grad, source, mean, rstd, np.int32(rows), np.int32(columns)]
            kernel = Kernel("norm.cu", "norm_weights_partial", TYPE=type_of(x))
            launch(backend, kernel, (across, slices), (32, 32), args)
        if dx is not None and past is not None:
            dx += past
    dweight, dbias = (s if s is None else column_sums(backend, s, x.dtype) for s in sums)
    return None if dx is None else dx.reshape(x.shape), dweight, dbias


def _fixed(backend: Any, x: Array, *others: Array | None) -> tuple[int, dict[str, object]]:
    """Threads a row, and what the kernels that keep it in registers are compiled with."""
    columns = x.shape[1]
    width = vector(backend, columns, x, *others)
    threads = team(columns, width)
    return threads, {
        "TYPE": type_of(x),
        "COLUMNS": columns,
        "THREADS": threads,
        "VECTOR": width,
    }
