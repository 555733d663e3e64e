"""Group norm with an activation, by kernels/group_norm.cu: sums of chunks, statistics, and u."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.backend.device.launching import (
    DTYPES,
    blocks,
    column_sums,
    contiguous,
    has_elements,
    like,
    persistent,
    type_of,
    vector,
)
from tinygen.backend.device.registry import serves
from tinygen.backend.device.rungs import rung_of
from tinygen.backend.launch import Kernel, launch

Array = Any

MOST_IMAGES = 65535
"""As the third number of a grid."""

BLOCK = (32, 8)
"""Threads over vectors of channels, and over positions."""


def _fits(arrays: Sequence[Array], *_: Any) -> bool:
    return has_elements(arrays) and len(arrays[0]) <= MOST_IMAGES


@serves("group_norm_forward", dtypes=DTYPES, fits=_fits)
def group_norm_forward(
    backend: Any,
    x: Array,
    groups: int,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    activation: str | None = None,
    with_derivative: bool = True,
) -> tuple[Array, Array, Array, Array | None]:
    """x (N, ..., C) -> y (N, ..., C), mean and rstd (N, G) float32, and f'(u) or None."""
    x = contiguous(backend, x)
    weight, bias = (v if v is None else contiguous(backend, v) for v in (weight, bias))
    N, C = x.shape[0], x.shape[-1]
    positions = x.size // (N * C)
    y = like(backend, x)
    slope = like(backend, x) if activation and with_derivative else None
    fixed = _fixed(backend, x, activation, y, slope)
    mean, rstd = (backend.empty((N, groups), np.float32) for _ in range(2))
    sizes = [np.int32(positions), np.int32(C)]
    if rung_of(backend, "group_norm") == "naive":
        kernel = Kernel("group_norm.cu", "group_norm_naive", **fixed)
        args = [y, slope, mean, rstd, x, weight, bias, *sizes, np.int32(groups), np.float32(eps)]
        launch(backend, kernel, (N * groups,), (256,), args)
        return y, mean, rstd, slope
    grid = _grid(backend, N, positions, C, fixed)
    chunks = grid[1]
    partial = backend.empty((N, chunks, 2, C), np.float32)
    kernel = Kernel("group_norm.cu", "group_norm_sums", **fixed)
    launch(backend, kernel, grid, BLOCK, [partial, x, *sizes])
    kernel = Kernel("group_norm.cu", "group_norm_statistics", **fixed)
    args = [mean, rstd, partial, x, np.int32(chunks), *sizes, np.float32(eps)]
    launch(backend, kernel, (groups, N), (32,), args)
    kernel = Kernel("group_norm.cu", "group_norm_apply", **fixed)
    args = [y, slope, x, weight, bias, mean, rstd, *sizes, np.int32(groups)]
    launch(backend, kernel, grid, BLOCK, args)
    return y, mean, rstd, slope


@serves("group_norm_backward", dtypes=DTYPES, fits=_fits)
def group_norm_backward(
    backend: Any,
    g: Array,
    x: Array,
    groups: int,
    weight: Array | None,
    mean: Array,
    rstd: Array,
    slope: Array | None,
    needs: tuple[bool, ...],
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients (dx, dweight, dbias), None where `needs` does not ask for one."""
    g, x = contiguous(backend, g), contiguous(backend, x)
    weight = weight if weight is None else contiguous(backend, weight)
    N, C = x.shape[0], x.shape[-1]
    positions = x.size // (N * C)
    dx = like(backend, x) if needs[0] else None
    fixed = _fixed(backend, x, None, g, slope, dx)
    sizes = [np.int32(positions), np.int32(C)]
    dweight, dbias = (backend.empty((N, C), np.float32) for _ in range(2))  # of each image
    if rung_of(backend, "group_norm") == "naive":
        kernel = Kernel("group_norm.cu", "group_norm_backward_naive", **fixed)
        args = [dx, dweight, dbias, g, slope, x, weight, mean, rstd, *sizes, np.int32(groups)]
        launch(backend, kernel, (N * groups,), (256,), args)
    else:
        grid = _grid(backend, N, positions, C, fixed)
        chunks = grid[1]
        partial = backend.empty((N, chunks, 2, C), np.float32)
        kernel = Kernel("group_norm.cu", "group_norm_backward_sums", **fixed)
        args = [partial, g, slope, x, mean, *sizes, np.int32(groups)]
        launch(backend, kernel, grid, BLOCK, args)
        projection = backend.empty((N, 2, groups), np.float32)
        kernel = Kernel("group_norm.cu", "group_norm_projection", **fixed)
        args = [projection, dweight, dbias, partial, weight, rstd, np.int32(chunks), *sizes]
        launch(backend, kernel, (groups, N), (32,), args)
        if dx is not None:
            kernel = Kernel("group_norm.cu", "group_norm_backward_apply", **fixed)
            args = [dx, g, slope, x, weight, mean, rstd, projection, *sizes, np.int32(groups)]
            launch(backend, kernel, grid, BLOCK, args)
    return (
        dx,
        column_sums(backend, dweight, x.dtype) if needs[1] else None,
        column_sums(backend, dbias, x.dtype) if needs[2] else None,
    )


def _fixed(
    backend: Any, x: Array, activation: str | None, *others: Array | None
) -> dict[str, object]:
    return {
        "TYPE": type_of(x),
        "ACTIVATION": activation or "identity",
        "VECTOR": vector(backend, x.shape[-1], x, *others),
    }


def _grid(
    backend: Any, N: int, positions: int, C: int, fixed: dict[str, Any]
) -> tuple[int, int, int]:
    """Vectors of channels, chunks of positions, images: as many chunks as keep the device busy."""
    across = blocks(C, BLOCK[0] * fixed["VECTOR"])
    chunks = blocks(persistent(backend, N * blocks(positions, BLOCK[1])), N * across)
    return across, min(chunks, blocks(positions, BLOCK[1])), N
