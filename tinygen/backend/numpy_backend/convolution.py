"""The three passes of a convolution, each by the fastest way that its shapes allow.

    1x1 with stride 1                pixels as rows of a matrix, times the weight
    3x3 with 1, or 4x4 with 2        Winograd's convolution, for float32 of many channels
    one input channel a group        depthwise, by shifted images
    anything else                    columns

A convolution of stride 1 is also the input gradient of another, whose kernel is flipped, and the
other way round. So with stride 1 there is a choice of whose columns to make, those of the input or
those of the output, which have fewer elements where there are fewer channels.
"""

from math import prod

import numpy as np

from tinygen.backend.geometry import Geometry, Pair
from tinygen.backend.numpy_backend.aligned import empty
from tinygen.backend.numpy_backend.array import Array
from tinygen.backend.numpy_backend.columns import (
    columns_forward,
    columns_input_gradient,
    columns_weight_gradient,
)
from tinygen.backend.numpy_backend.depthwise import (
    depthwise_forward,
    depthwise_input_gradient,
    depthwise_weight_gradient,
)
from tinygen.backend.numpy_backend.product import matmul
from tinygen.backend.numpy_backend.rows import as_rows
from tinygen.backend.numpy_backend.winograd import (
    TILE,
    winograd_forward,
    winograd_input_gradient,
    winograd_weight_gradient,
)

WINOGRAD_CHANNELS = 32
"""Channels on both sides from which Winograd's convolution pays."""

WINOGRAD_WASTE = 2.0
"""Outputs that its tiles may cover, for each that is there."""

SHORT = 64
"""Channels of a pixel up to which its products pay in tiles, although pixels come from memory."""

GATHER, ADD = 25, 75
"""What it costs to gather an element of a column, and to add one up, in multiplications."""


def conv2d_forward(
    x: Array, weight: Array, bias: Array | None, size: Pair, geometry: Geometry
) -> Array:
    """x (N, H, W, C), weight (O, kh, kw, C/groups), bias (O,) -> y (N, *size, O)."""
    kernel, sides = weight.shape[1:3], x.shape[1:3]
    outputs, _, _, inputs = weight.shape
    if _is_linear(kernel, sides, size, geometry):
        return _pixel_by_pixel(x, weight[:, 0, 0].T, bias)
    if _suits_winograd(x, weight.shape, size, geometry):
        return winograd_forward(x, weight, bias, size, geometry)
    if inputs == 1 < geometry.groups:
        return depthwise_forward(x, weight, bias, size, geometry)
    adding_up = prod(sides) * outputs * (inputs + ADD)
    gathering = prod(size) * inputs * (outputs + GATHER)
    if _can_flip(kernel, sides, size, geometry) and _worth_flipping(2 * adding_up, gathering):
        reverse = _reverse(kernel, geometry)
        return columns_input_gradient(x, _flipped(weight), bias, size, reverse)
    return columns_forward(x, weight, bias, size, geometry)


def conv2d_input_gradient(
    g: Array, weight: Array, bias: Array | None, size: Pair, geometry: Geometry
) -> Array:
    """g (N, P, Q, O), weight (O, kh, kw, C/groups), bias (C,) -> dx (N, *size, C)."""
    kernel, sides = weight.shape[1:3], g.shape[1:3]
    outputs, _, _, inputs = weight.shape
    if _is_linear(kernel, size, sides, geometry):
        return _pixel_by_pixel(g, weight[:, 0, 0], bias)
    if _suits_winograd(g, weight.shape, sides, geometry):
        return winograd_input_gradient(g, weight, bias, size, geometry)
    if inputs == 1 < geometry.groups:
        return depthwise_input_gradient(g, weight, bias, size, geometry)
    gathering = prod(size) * outputs * (inputs + GATHER)
    adding_up = prod(sides) * inputs * (outputs + ADD)
    if _can_flip(kernel, size, sides, geometry) and _worth_flipping(gathering, adding_up):
        return columns_forward(g, _flipped(weight), bias, size, _reverse(kernel, geometry))
    return columns_input_gradient(g, weight, bias, size, geometry)


def conv2d_weight_gradient(x: Array, g: Array, size: Pair, geometry: Geometry) -> Array:
    """x (N, H, W, C), g (N, P, Q, O) -> dweight (O, *size, C/groups)."""
    before, after, (inputs, outputs) = x.shape[1:3], g.shape[1:3], (x.shape[3], g.shape[3])
    if _is_linear(size, before, after, geometry):
        return (as_rows(g).T @ as_rows(x)).reshape(outputs, 1, 1, inputs)
    if _suits_winograd(x, (outputs, *size, inputs), after, geometry):
        return winograd_weight_gradient(x, g, size, geometry)
    if inputs == geometry.groups > 1:
        return depthwise_weight_gradient(x, g, size, geometry)
    of_g = prod(before) * outputs * (inputs + GATHER)
    of_x = prod(after) * inputs * (outputs + GATHER)
    if _can_flip(size, before, after, geometry) and _worth_flipping(2 * of_g, of_x):
        flipped = columns_weight_gradient(g, x, size, _reverse(size, geometry))
        return np.ascontiguousarray(_flipped(flipped))
    return columns_weight_gradient(x, g, size, geometry)


def _pixel_by_pixel(x: Array, matrix: Array, bias: Array | None) -> Array:
    """x (N, H, W, C), matrix (C, O) -> (N, H, W, O)."""
    rows = as_rows(x)
    y = empty((len(rows), matrix.shape[1]), x.dtype)
    if len(matrix) <= SHORT:
        matmul(rows, np.ascontiguousarray(matrix), y)
    else:
        np.matmul(rows, matrix, out=y)
    if bias is not None:
        y += bias
    return y.reshape(*x.shape[:3], matrix.shape[1])


def _is_linear(kernel: Pair, sides: Pair, size: Pair, geometry: Geometry) -> bool:
    """Whether each output pixel reads the input pixel at its own place."""
    return (
        kernel == (1, 1)
        and size == sides
        and geometry[:2] == ((1, 1), (0, 0))
        and (geometry.groups == 1)
    )


def _suits_winograd(x: Array, weight: tuple[int, ...], size: Pair, geometry: Geometry) -> bool:
    """Kernels and strides that it is for, in float32, of many channels and nearly whole tiles."""
    outputs, kh, kw, inputs = weight
    if x.dtype != np.float32 or min(outputs, inputs) < WINOGRAD_CHANNELS or geometry.groups != 1:
        return False
    kinds = ((3, 3, (1, 1)), (4, 4, (2, 2)))
    covered = -(-size[0] // TILE) * TILE * -(-size[1] // TILE) * TILE
    return (
        (kh, kw, geometry.stride) in kinds
        and geometry.dilation == (1, 1)
        and covered <= WINOGRAD_WASTE * size[0] * size[1]
    )


def _can_flip(kernel: Pair, sides: Pair, size: Pair, geometry: Geometry) -> bool:
    """Whether the convolution that takes `sides` to `size` is the input gradient of another."""
    return (
        geometry.stride == (1, 1)
        and geometry.groups == 1
        and size == geometry.sides_after(sides, kernel)
        and min(_reverse(kernel, geometry).padding) >= 0
    )


def _worth_flipping(cost: int, cost_unflipped: int) -> bool:
    return cost < cost_unflipped


def _reverse(kernel: Pair, geometry: Geometry) -> Geometry:
    """The geometry of that other convolution, from `size` to `sides`."""
    (high, wide), (top, left) = geometry.reach(kernel), geometry.padding
    return geometry._replace(padding=(high - 1 - top, wide - 1 - left))


def _flipped(weight: Array) -> Array:
    """(O, kh, kw, C) -> (C, kh, kw, O), every kernel turned by half a turn."""
    return weight[:, ::-1, ::-1].transpose(3, 1, 2, 0)
