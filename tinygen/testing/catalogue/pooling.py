"""Pooling: the largest and the mean of each window."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.testing.bounds import sums
from tinygen.testing.catalogue import Bad, register
from tinygen.testing.catalogue.argument import bad, zeros
from tinygen.testing.catalogue.convolution import both, pair
from tinygen.testing.drawing import Call, Draw

LINEAR = {"reference": "no fused node: the map and its adjoint, each the other's derivative"}


def pool_window(draw: Draw) -> tuple[Any, ...]:
    """A window, its steps and the padding that is allowed."""
    kernel = pair(draw, 1, 3)
    stride = draw.choice((None, 1, 2, (2, 1), (1, 3)))
    padding: Any = draw.choice((0, 0, 1)) if min(both(kernel)) > 1 else 0
    if padding and draw.boolean():
        padding = (padding, 0)
    return kernel, stride, padding


def pool_shape(draw: Draw, kernel: Any, padding: Any) -> tuple[int, ...]:
    sides = [
        max(k - 2 * p, 1) + draw.integer(0, 3)
        for k, p in zip(both(kernel), both(padding), strict=True)
    ]
    return (draw.side(most=2), *sides, draw.side(most=2))


def max_pool_args(draw: Draw) -> Call:
    kernel, stride, padding = pool_window(draw)
    (x,) = draw.distinct(pool_shape(draw, kernel, padding))
    return Call(x, kernel_size=kernel, stride=stride, padding=padding)


def avg_pool_args(draw: Draw) -> Call:
    kernel, stride, padding = pool_window(draw)
    count_include_pad = draw.boolean()
    if draw.regime == "integers":  # divided by a power of two
        kernel, count_include_pad = draw.choice(((2, 2), (1, 2), (2, 4))), True
        padding = (0, draw.integer(0, 1))
    x = draw.array(pool_shape(draw, kernel, padding))
    options = {"padding": padding, "count_include_pad": count_include_pad}
    return Call(x, kernel_size=kernel, stride=stride, **options)


def windows(x: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    """((n, p, q, c), the elements of that window inside the image), one after another."""
    (kh, kw), (top, left) = both(kernel), both(padding)
    sh, sw = (kh, kw) if stride is None else both(stride)
    N, H, W, C = x.shape
    P, Q = (H + 2 * top - kh) // sh + 1, (W + 2 * left - kw) // sw + 1
    for n, p, q, c in np.ndindex(N, P, Q, C):
        rows = [r for r in range(p * sh - top, p * sh - top + kh) if 0 <= r < H]
        columns = [r for r in range(q * sw - left, q * sw - left + kw) if 0 <= r < W]
        yield (n, p, q, c), [x[n, row, column, c] for row in rows for column in columns]


def pooled(x: Any, kernel: Any, stride: Any, padding: Any) -> Any:
    """Room for what comes out."""
    (kh, kw), (top, left) = both(kernel), both(padding)
    sh, sw = (kh, kw) if stride is None else both(stride)
    N, H, W, C = x.shape
    return np.zeros((N, (H + 2 * top - kh) // sh + 1, (W + 2 * left - kw) // sw + 1, C), x.dtype)


def max_pool(x: Any, kernel_size: Any, stride: Any, padding: Any) -> Any:
    y = pooled(x, kernel_size, stride, padding)
    for place, elements in windows(x, kernel_size, stride, padding):
        y[place] = np.max(elements)
    return y


def avg_pool(x: Any, kernel_size: Any, stride: Any, padding: Any, count_include_pad: bool) -> Any:
    y = pooled(x, kernel_size, stride, padding)
    for place, elements in windows(x, kernel_size, stride, padding):
        y[place] = sum(elements) / (
            math.prod(both(kernel_size)) if count_include_pad else len(elements)
        )
    return y


def refused(f: Any) -> tuple[Bad, ...]:
    """What both ops refuse."""
    image = zeros(1, 4, 4, 2)
    return (
        bad("three axes", ShapeError, lambda: f(zeros(4, 4, 2), 2)),
        bad("no rows", ShapeError, lambda: f(zeros(1, 0, 4, 2), 1)),
        bad("a window that does not fit", ShapeError, lambda: f(image, (2, 5))),
        bad("no window", UsageError, lambda: f(image, 0)),
        bad("three sides", UsageError, lambda: f(image, (2, 2, 2))),
        bad("no stride", UsageError, lambda: f(image, 2, stride=0)),
        bad("windows of padding", UsageError, lambda: f(image, 3, padding=2)),
        bad("a negative padding", UsageError, lambda: f(image, 3, padding=-1)),
        bad("integers", DtypeError, lambda: f(np.ones((1, 4, 4, 2), int), 2)),
    )


register(
    lambda x, kernel_size, **options: ops.max_pool2d(x, kernel_size, **options),
    name="max_pool2d",
    args=max_pool_args,
    truth=max_pool,
    exact_on_ints=True,
    fused=True,
    kinks=True,
    bad=refused(ops.max_pool2d),
)
register(
    lambda x, kernel_size, **options: ops.avg_pool2d(x, kernel_size, **options),
    name="avg_pool2d",
    args=avg_pool_args,
    truth=avg_pool,
    bound=sums(),
    linear=True,
    exact_on_ints=True,
    special=False,
    exempt=LINEAR,
    bad=refused(ops.avg_pool2d),
)
