"""The three passes of a convolution, each by the fastest way that its shapes allow."""

from tinygen.backend.geometry import Geometry, Pair
from tinygen.backend.numpy_backend.array import Array
from tinygen.backend.numpy_backend.columns import (
    columns_forward,
    columns_input_gradient,
    columns_weight_gradient,
)


def conv2d_forward(
    x: Array, weight: Array, bias: Array | None, size: Pair, geometry: Geometry
) -> Array:
    """x (N, H, W, C), weight (O, kh, kw, C/groups), bias (O,) -> y (N, *size, O)."""
    return columns_forward(x, weight, bias, size, geometry)


def conv2d_input_gradient(
    g: Array, weight: Array, bias: Array | None, size: Pair, geometry: Geometry
) -> Array:
    """g (N, P, Q, O), weight (O, kh, kw, C/groups), bias (C,) -> dx (N, *size, C)."""
    return columns_input_gradient(g, weight, bias, size, geometry)


def conv2d_weight_gradient(x: Array, g: Array, size: Pair, geometry: Geometry) -> Array:
    """x (N, H, W, C), g (N, P, Q, O) -> dweight (O, *size, C/groups)."""
    return columns_weight_gradient(x, g, size, geometry)
