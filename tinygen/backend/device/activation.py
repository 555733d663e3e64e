"""GELU, SiLU and ReLU with their derivatives, by kernels/activation.cu."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.backend.device.launching import (
    DTYPES,
    as_matrix,
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


@serves("activation_forward", dtypes=DTYPES, fits=has_elements)
def activation_forward(
    backend: Any, u: Array, name: str, *, with_derivative: bool = True
) -> tuple[Array, Array | None]:
    """(h, dh/du), or (h, None); `name` is "relu", "silu", "gelu" or "gelu_tanh"."""
    u = contiguous(backend, u)
    h = like(backend, u)
    slope = like(backend, u) if with_derivative else None
    width = vector(backend, u.size, u, h, slope)
    fixed = {"TYPE": type_of(u), "ACTIVATION": name, "VECTOR": width}
    if rung_of(backend, "activation") == "naive":
        kernel, grid = Kernel("activation.cu", "activation_naive", **fixed), blocks(u.size, 256)
    else:
        kernel = Kernel("activation.cu", "activation_forward", **fixed)
        grid = persistent(backend, blocks(u.size, 256 * width))
    launch(backend, kernel, (grid,), (256,), [h, slope, u, np.int64(u.size)])
    return h, slope


@serves("gelu_forward", dtypes=DTYPES, fits=has_elements)
def gelu_forward(
    backend: Any, u: Array, approximate: str = "none", with_derivative: bool = True
) -> tuple[Array, Array | None]:
    """(gelu(u), its derivative or None); `approximate` is "none" or "tanh"."""
    name = "gelu_tanh" if approximate == "tanh" else "gelu"
    return activation_forward(backend, u, name, with_derivative=with_derivative)


@serves("silu_forward", dtypes=DTYPES, fits=has_elements)
def silu_forward(
    backend: Any, u: Array, with_derivative: bool = True
) -> tuple[Array, Array | None]:
    """(u sigmoid(u), its derivative or None)."""
    return activation_forward(backend, u, "silu", with_derivative=with_derivative)


def slope_backward(backend: Any, g: Array, slope: Array) -> tuple[Array, Array]:
    """(g slope, its sums over the rows): g and slope (rows, columns). The gradient before an
    activation, and that of the bias, in one pass."""
    g, slope = as_matrix(backend, g), as_matrix(backend, slope)
    rows, columns = g.shape
    du = like(backend, g)
    width = vector(backend, columns, g, slope, du)
    across = blocks(columns, 32 * width)
    slices = blocks(persistent(backend, across * blocks(rows, 8)), across)
    partial = backend.empty((slices, columns), np.float32)
    kernel = Kernel("activation.cu", "bias_slope_backward", TYPE=type_of(g), VECTOR=width)
    args = [du, partial, g, slope, np.int32(rows), np.int32(columns)]
    launch(backend, kernel, (across, slices), (32, 8), args)
    return du, column_sums(backend, partial, g.dtype)
