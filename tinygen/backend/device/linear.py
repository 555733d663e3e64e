"""A linear layer by the products of kernels/matmul_*.cu."""

from __future__ import annotations

from math import prod
from typing import Any

from tinygen.backend.device.activation import slope_backward
from tinygen.backend.device.launching import DTYPES, bias_gradient
from tinygen.backend.device.matmul import matmul
from tinygen.backend.device.registry import serves

Array = Any


@serves("linear_forward", dtypes=DTYPES)
def linear_forward(
    backend: Any,
    x: Array,
    weight: Array,
    bias: Array | None = None,
    activation: str | None = None,
    with_derivative: bool = True,
) -> tuple[Array, Array | None]:
    """y = f(x W^T + b) and f', as the CPU's primitive: one launch."""
    rows = x.reshape(prod(x.shape[:-1]), x.shape[-1])
    y, slope, _ = matmul(
        backend,
        rows,
        weight.T,
        bias=bias,
        activation=activation or "identity",
        with_slope=with_derivative and activation is not None,
    )
    shape = (*x.shape[:-1], len(weight))
    return y.reshape(shape), None if slope is None else slope.reshape(shape)


@serves("linear_backward", dtypes=DTYPES)
def linear_backward(
    backend: Any,
    g: Array,
    x: Array,
    weight: Array,
    derivative: Array | None,
    needs: tuple[bool, ...],
) -> tuple[Array | None, Array | None, Array | None]:
    """(dx, dweight, dbias), None where `needs` does not ask for one."""
    out_features, in_features = weight.shape
    rows = g.reshape(prod(g.shape[:-1]), out_features)
    dx = dweight = dbias = None
    if derivative is not None and rows.size:
        rows, dbias = slope_backward(backend, rows, derivative.reshape(rows.shape))
    if needs[0]:
        dx = matmul(backend, rows, weight).c.reshape(x.shape)
    if needs[1]:
        dweight = matmul(backend, rows.T, x.reshape(len(rows), in_features)).c
    if needs[2] and dbias is None:
        dbias = bias_gradient(backend, rows) if rows.size else rows.sum(axis=0)
    return dx, dweight, dbias if needs[2] else None
