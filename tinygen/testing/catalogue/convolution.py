"""Convolution, its adjoint, and convolution of sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen import ops
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.testing.bounds import sums
from tinygen.testing.catalogue import Bad, register
from tinygen.testing.catalogue.argument import bad, zeros
from tinygen.testing.catalogue.fused import mixed
from tinygen.testing.drawing import Call, Domain, Draw

MODERATE = Domain(-3.0, 3.0, wide=(-(2.0**10), 2.0**10))
TRIPLE = {"reference": "no fused node: each of the three has its reference in its own tests"}

Pair = tuple[int, int]


def pair(draw: Draw, low: int, high: int) -> Any:
    """A number, or one for rows and one for columns."""
    if draw.boolean():
        return draw.integer(low, high)
    return draw.integer(low, high), draw.integer(low, high)


def both(value: Any) -> Pair:
    return value if isinstance(value, tuple) else (value, value)


# ---- images --------------------------------------------------------------------------------------


def conv2d_args(draw: Draw) -> Call:
    """An image that leaves an output of one to four rows, of which no pixel or a few are unread."""
    groups = draw.choice((1, 1, 2, 3))
    width, out = draw.side(1, 2), groups * draw.side(1, 2)
    kernel = draw.integer(1, 3), draw.integer(1, 3)
    stride, padding, dilation = pair(draw, 1, 2), pair(draw, 0, 2), pair(draw, 1, 2)
    sides = [
        max((draw.integer(1, 3) - 1) * s + d * (k - 1) + 1 - 2 * p, 1) + draw.integer(0, 1)
        for k, s, p, d in zip(kernel, both(stride), both(padding), both(dilation), strict=True)
    ]
    sides = [
        max(n, d * (k - 1) + 1 - 2 * p)
        for n, k, p, d in zip(sides, kernel, both(padding), both(dilation), strict=True)
    ]
    shape = draw.side(most=2), *sides, groups * width
    if draw.integer(0, 7) == 0:  # of the shape of its weight
        shape, padding, dilation, groups = (out, *kernel, width), 1, 1, 1
    x, weight = draw.array(shape, MODERATE), draw.array((out, *kernel, width), MODERATE)
    bias = draw.array((out,), MODERATE) if draw.boolean() else None
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return Call(x, weight, bias, **options)


def conv2d(
    x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    """One product after another, in loops over everything."""
    (sh, sw), (top, left), (dh, dw) = both(stride), both(padding), both(dilation)
    (N, H, W, _), (out, kh, kw, width) = x.shape, weight.shape
    P = (H + 2 * top - dh * (kh - 1) - 1) // sh + 1
    Q = (W + 2 * left - dw * (kw - 1) - 1) // sw + 1
    y = np.zeros((N, P, Q, out), x.dtype)
    for n, p, q, o in np.ndindex(*y.shape):
        first = o // (out // groups) * width
        for i, j, c in np.ndindex(kh, kw, width):
            row, column = p * sh + i * dh - top, q * sw + j * dw - left
            if 0 <= row < H and 0 <= column < W:
                y[n, p, q, o] += x[n, row, column, first + c] * weight[o, i, j, c]
    return y if bias is None else y + bias


def conv_transpose2d_args(draw: Draw) -> Call:
    groups = draw.choice((1, 1, 2, 3))
    inputs, width = groups * draw.side(1, 2), draw.side(1, 2)
    kernel = draw.integer(1, 3), draw.integer(1, 3)
    stride, padding, dilation = pair(draw, 1, 2), pair(draw, 0, 1), pair(draw, 1, 2)
    extra = tuple(
        draw.integer(0, max(s, d) - 1) for s, d in zip(both(stride), both(dilation), strict=True)
    )
    sides = [  # enough for an output of one row
        max(draw.integer(1, 3), -(-(2 * p - d * (k - 1)) // s) + 1)
        for k, s, p, d in zip(kernel, both(stride), both(padding), both(dilation), strict=True)
    ]
    shape = draw.side(most=2), *sides, inputs
    if draw.integer(0, 7) == 0:  # of the shape of its weight
        shape, padding, groups, width = (inputs, *kernel, inputs), 0, 1, inputs
    x, weight = draw.array(shape, MODERATE), draw.array((inputs, *kernel, width), MODERATE)
    bias = draw.array((groups * width,), MODERATE) if draw.boolean() else None
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return Call(x, weight, bias, output_padding=extra, **options)


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    output_padding: Pair,
) -> Any:
    """Every input pixel writes its kernel, in loops over everything."""
    (sh, sw), (top, left), (dh, dw) = both(stride), both(padding), both(dilation)
    (N, P, Q, inputs), (_, kh, kw, width) = x.shape, weight.shape
    H = (P - 1) * sh - 2 * top + dh * (kh - 1) + output_padding[0] + 1
    W = (Q - 1) * sw - 2 * left + dw * (kw - 1) + output_padding[1] + 1
    y = np.zeros((N, H, W, groups * width), x.dtype)
    for n, p, q, o in np.ndindex(*x.shape):
        first = o // (inputs // groups) * width
        for i, j, c in np.ndindex(kh, kw, width):
            row, column = p * sh + i * dh - top, q * sw + j * dw - left
            if 0 <= row < H and 0 <= column < W:
                y[n, row, column, first + c] += x[n, p, q, o] * weight[o, i, j, c]
    return y if bias is None else y + bias


def refused(f: Any) -> tuple[Bad, ...]:
    """What both ops refuse."""
    image, kernel = (1, 4, 4, 2), (2, 3, 3, 2)

    def options(**given: Any) -> Any:
        return lambda: f(zeros(*image), zeros(*kernel), **given)

    def shapes(x: tuple[int, ...], weight: tuple[int, ...], bias: Any = None) -> Any:
        return lambda: f(zeros(*x), zeros(*weight), bias)

    return (
        bad("channels", ShapeError, shapes((1, 4, 4, 3), kernel)),
        bad("three axes", ShapeError, shapes((4, 4, 2), kernel)),
        bad("a weight of three axes", ShapeError, shapes(image, (2, 3, 3))),
        bad("an empty kernel", ShapeError, shapes(image, (2, 0, 3, 2))),
        bad("a bias of another size", ShapeError, shapes(image, kernel, zeros(3))),
        bad("groups that do not divide", ShapeError, options(groups=3)),
        bad("no group", UsageError, options(groups=0)),
        bad("a stride of 0", UsageError, options(stride=0)),
        bad("a fractional stride", UsageError, options(stride=1.5)),
        bad("a stride of True", UsageError, options(stride=True)),
        bad("three strides", UsageError, options(stride=(1, 1, 1))),
        bad("a negative padding", UsageError, options(padding=(0, -1))),
        bad("no dilation", UsageError, options(dilation=0)),
        bad("no weight", DtypeError, lambda: f(zeros(*image), None)),
        bad("integers", DtypeError, lambda: f(np.ones(image, int), np.ones(kernel, int))),
        mixed(f, image, kernel),
    )


register(
    ops.conv2d,
    args=conv2d_args,
    truth=conv2d,
    bound=sums(),
    exact_on_ints=True,
    special=False,
    exempt=TRIPLE,
    bad=(
        *refused(ops.conv2d),
        bad(
            "a kernel larger than the image",
            ShapeError,
            lambda: ops.conv2d(zeros(1, 2, 5, 1), zeros(1, 3, 3, 1)),
        ),
        bad(
            "an image without rows",
            ShapeError,
            lambda: ops.conv2d(zeros(1, 0, 5, 1), zeros(1, 1, 1, 1)),
        ),
    ),
)


def transposed(output_padding: Any) -> Any:
    return lambda: ops.conv_transpose2d(
        zeros(1, 4, 4, 2), zeros(2, 3, 3, 2), stride=2, output_padding=output_padding
    )


register(
    ops.conv_transpose2d,
    args=conv_transpose2d_args,
    truth=conv_transpose2d,
    bound=sums(),
    exact_on_ints=True,
    special=False,
    exempt=TRIPLE,
    bad=(
        *refused(ops.conv_transpose2d),
        bad("an output padding as large as the stride", UsageError, transposed(2)),
        bad("a negative output padding", UsageError, transposed((-1, 0))),
        bad(
            "nothing left",
            ShapeError,
            lambda: ops.conv_transpose2d(zeros(1, 1, 1, 1), zeros(1, 2, 2, 1), padding=1),
        ),
        bad(
            "an image without rows",
            ShapeError,
            lambda: ops.conv_transpose2d(zeros(1, 0, 5, 1), zeros(1, 3, 3, 1)),
        ),
    ),
)


# ---- sequences -----------------------------------------------------------------------------------


def conv1d_args(draw: Draw) -> Call:
    groups = draw.choice((1, 1, 2))
    width, out, k = draw.side(1, 3), groups * draw.side(1, 3), draw.integer(1, 4)
    stride, padding, dilation = draw.integer(1, 3), draw.integer(0, 2), draw.integer(1, 2)
    length = max(dilation * (k - 1) + 1 - 2 * padding, 1) + draw.integer(0, 5)
    x = draw.array((draw.side(most=2), length, groups * width), MODERATE)
    weight = draw.array((out, k, width), MODERATE)
    bias = draw.array((out,), MODERATE) if draw.boolean() else None
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return Call(x, weight, bias, **options)


def conv1d(
    x: Any, weight: Any, bias: Any, stride: int, padding: int, dilation: int, groups: int
) -> Any:
    (N, L, _), (out, k, width) = x.shape, weight.shape
    y = np.zeros((N, (L + 2 * padding - dilation * (k - 1) - 1) // stride + 1, out), x.dtype)
    for n, p, o in np.ndindex(*y.shape):
        first = o // (out // groups) * width
        for i in range(k):
            place = p * stride + i * dilation - padding
            if 0 <= place < L:
                y[n, p, o] += (x[n, place, first : first + width] * weight[o, i]).sum()
    return y if bias is None else y + bias


def sequence(**options: Any) -> Any:
    return lambda: ops.conv1d(zeros(1, 4, 2), zeros(2, 3, 2), **options)


register(
    ops.conv1d,
    args=conv1d_args,
    truth=conv1d,
    bound=sums(),
    exact_on_ints=True,
    special=False,
    exempt=TRIPLE,
    bad=(
        bad("channels", ShapeError, lambda: ops.conv1d(zeros(1, 4, 3), zeros(2, 3, 2))),
        bad("an image", ShapeError, lambda: ops.conv1d(zeros(1, 4, 4, 2), zeros(2, 3, 2))),
        bad("a kernel of an image", ShapeError, lambda: ops.conv1d(zeros(1, 4, 2), zeros(2, 2))),
        bad("no length", ShapeError, lambda: ops.conv1d(zeros(1, 4, 2), zeros(2, 5, 2))),
        bad("a bias of another size", ShapeError, sequence(bias=zeros(3))),
        bad("groups that do not divide", ShapeError, sequence(groups=2)),
        bad("a pair", UsageError, sequence(stride=(1, 1))),
        bad("no stride", UsageError, sequence(stride=0)),
        bad("a negative padding", UsageError, sequence(padding=-1)),
        bad("no dilation", UsageError, sequence(dilation=0)),
        bad("integers", DtypeError, lambda: ops.conv1d(np.ones((1, 4, 2), int), zeros(2, 3, 2))),
        mixed(ops.conv1d, (1, 4, 2), (2, 3, 2)),
    ),
)
