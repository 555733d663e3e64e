"""Pooling, resizing, the norms of images, and pixel shuffle."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.testing.bounds import conditioned, sums
from tinygen.testing.catalogue import Bad, register
from tinygen.testing.catalogue.argument import bad, zeros
from tinygen.testing.catalogue.convolution import both, pair
from tinygen.testing.catalogue.fused import ACTIVATIONS, COMPOSED, MODERATE, mixed
from tinygen.testing.drawing import POSITIVE, REAL, Call, Draw

LINEAR = {"reference": "no fused node: the map and its adjoint, each the other's derivative"}


# ---- pooling -------------------------------------------------------------------------------------


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


# ---- resize --------------------------------------------------------------------------------------


def resize_args(draw: Draw) -> Call:
    """To a multiple of the size or to any other, larger and smaller."""
    mode = draw.choice(("nearest", "bilinear"))
    if draw.regime == "integers":
        mode = "nearest"
    sides = draw.integer(1, 5), draw.integer(1, 5)
    size = tuple(draw.choice((n, 2 * n, 3 * n, draw.integer(1, 7))) for n in sides)
    if draw.integer(0, 3) == 0:
        size = draw.integer(1, 6)
    x = draw.array((draw.side(most=2), *sides, draw.side(most=2)))
    return Call(x, size=size, mode=mode)


def line(n: int, m: int, mode: str) -> list[list[tuple[int, Fraction]]]:
    """For each of m outputs of an axis of n elements: (element, weight), in exact fractions."""
    found = []
    for i in range(m):
        place = (i + Fraction(1, 2)) * Fraction(n, m)
        if mode == "nearest":
            found.append([(math.floor(place), Fraction(1))])
            continue
        place = min(max(place - Fraction(1, 2), Fraction(0)), Fraction(n - 1))
        low = math.floor(place)
        found.append([(low, 1 - (place - low)), (min(low + 1, n - 1), place - low)])
    return found


def resize(x: Any, size: Any, mode: str) -> Any:
    N, H, W, C = x.shape
    P, Q = both(size)
    y = np.zeros((N, P, Q, C), x.dtype)
    for p, rows in enumerate(line(H, P, mode)):
        for q, columns in enumerate(line(W, Q, mode)):
            for row, a in rows:
                for column, b in columns:
                    weight = np.longdouble((a * b).numerator) / (a * b).denominator
                    y[:, p, q] += x[:, row, column] * weight
    return y


register(
    ops.resize,
    args=resize_args,
    truth=resize,
    bound=conditioned(8, of_inputs=8),
    linear=True,
    exact_on_ints=True,
    special=False,
    exempt=LINEAR,
    bad=(
        bad("three axes", ShapeError, lambda: ops.resize(zeros(4, 4, 2), 2)),
        bad("no columns", ShapeError, lambda: ops.resize(zeros(1, 4, 0, 2), 2)),
        bad("no size", UsageError, lambda: ops.resize(zeros(1, 4, 4, 2), 0)),
        bad("half a pixel", UsageError, lambda: ops.resize(zeros(1, 4, 4, 2), 2.5)),
        bad("a mode", UsageError, lambda: ops.resize(zeros(1, 4, 4, 2), 2, mode="cubic")),
        bad("integers", DtypeError, lambda: ops.resize(np.ones((1, 4, 4, 2), int), 2)),
    ),
)


# ---- batch norm ----------------------------------------------------------------------------------


def batch_norm_args(draw: Draw) -> Call:
    """Three values a channel or more where derivatives are judged: of two, y is a sign."""
    training = draw.boolean()
    least = 3 if draw.regime == "smooth" else 2
    C = draw.side(most=3)
    shape = draw.choice(
        ((draw.integer(least, 7),), (2, draw.integer(2, 3)), (1, 2, draw.integer(2, 3)))
    )
    if draw.zero_size and not training and draw.boolean():
        shape = (0, *shape[1:])
    weight, bias = (draw.array((C,)) if draw.boolean() else None for _ in range(2))
    mean, var = (draw.array((C,), POSITIVE) for _ in range(2))  # one tensor may be both
    options = {"momentum": draw.choice((0.1, 0.5, 1.0)), "eps": draw.choice((1e-5, 1e-2))}
    return Call(
        draw.array((*shape, C), MODERATE),
        mean,
        var,
        weight,
        bias,
        training=training,
        **options,
    )


def batch_norm(
    x: Any,
    mean: Any,
    var: Any,
    weight: Any,
    bias: Any,
    training: bool,
    momentum: float,
    eps: float,
) -> Any:
    """One channel after another."""
    y = np.empty_like(x)
    new_mean, new_var = mean.copy(), var.copy()
    for c in range(x.shape[-1]):
        values, m, v = x[..., c], mean[c], var[c]
        if training:
            m = values.sum() / values.size
            squares = ((values - m) ** 2).sum()
            v = squares / values.size
            new_mean[c] = (1 - np.longdouble(momentum)) * mean[c] + momentum * m
            new_var[c] = (1 - np.longdouble(momentum)) * var[c] + momentum * squares / (
                values.size - 1
            )
        y[..., c] = (values - m) / np.sqrt(v + eps)
        y[..., c] *= 1 if weight is None else weight[c]
        y[..., c] += 0 if bias is None else bias[c]
    return y, new_mean, new_var


def norm_of(x: Any, mean: Any = None, var: Any = None, **options: Any) -> Any:
    parts = [zeros(3) if part is None else part for part in (mean, var)]
    return lambda: ops.batch_norm(x, *parts, **{"training": True, **options})


register(
    ops.batch_norm,
    args=batch_norm_args,
    truth=batch_norm,
    bound=COMPOSED,
    fused=True,
    special=False,
    bad=(
        bad("one value a channel", ShapeError, norm_of(zeros(1, 3))),
        bad("no values", ShapeError, norm_of(zeros(0, 3))),
        bad("one axis", ShapeError, norm_of(zeros(3))),
        bad("a mean of another size", ShapeError, norm_of(zeros(4, 3), mean=zeros(4))),
        bad("a weight of another size", ShapeError, norm_of(zeros(4, 3), weight=zeros(2))),
        bad(
            "no running variance",
            DtypeError,
            lambda: ops.batch_norm(zeros(4, 3), zeros(3), None, training=False),
        ),
        bad("a momentum of 2", UsageError, norm_of(zeros(4, 3), momentum=2.0)),
        bad("eps below zero", UsageError, norm_of(zeros(4, 3), eps=-1e-5)),
        bad("two dtypes", DtypeError, norm_of(np.zeros((4, 3), np.float32))),
    ),
)


# ---- group norm, instance norm -------------------------------------------------------------------


def group_norm_args(draw: Draw) -> Call:
    groups, positions = draw.choice((1, 2, 3)), draw.choice(((), (3,), (2, 2)))
    width = draw.choice((1, 2, 3)) if positions else 3
    if draw.regime == "smooth" and width * math.prod(positions) < 3:
        width = 3
    activation = draw.choice((None, "silu", "silu", "relu", "gelu", "gelu_tanh"))
    C = groups * width
    if draw.regime == "smooth" and activation == "relu":
        activation = "silu"  # the kink of relu is tested with relu
    weight, bias = (draw.array((C,)) if draw.boolean() else None for _ in range(2))
    x = draw.array((draw.side(most=3), *positions, C), MODERATE)
    return Call(
        x, weight, bias, groups=groups, eps=draw.choice((1e-5, 1e-2)), activation=activation
    )


def group_norm(
    x: Any, weight: Any, bias: Any, groups: int, eps: float, activation: str | None = None
) -> Any:
    """One group of one image after another."""
    y = np.empty_like(x)
    width = x.shape[-1] // groups
    for n, group in np.ndindex(len(x), groups):
        channels = slice(group * width, (group + 1) * width)
        values = x[n, ..., channels]
        centred = values - values.sum() / values.size
        y[n, ..., channels] = centred / np.sqrt((centred**2).sum() / values.size + eps)
    y = y if weight is None else y * weight
    return ACTIVATIONS[activation](y if bias is None else y + bias)


def instance_norm_args(draw: Draw) -> Call:
    positions = draw.choice(((3,), (5,), (2, 2), (1, 3)))
    if draw.regime != "smooth":
        positions = draw.choice((positions, (1,), (2,)))
    C = draw.side(most=3)
    weight, bias = (draw.array((C,)) if draw.boolean() else None for _ in range(2))
    x = draw.array((draw.side(most=3), *positions, C), MODERATE)
    return Call(x, weight, bias, eps=draw.choice((1e-5, 1e-2)))


def instance_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    return group_norm(x, weight, bias, x.shape[-1], eps) if x.shape[-1] else x


def grouped(x: Any, groups: Any, **options: Any) -> Any:
    return lambda: ops.group_norm(x, groups, **options)


register(
    lambda x, weight, bias, groups, **options: ops.group_norm(x, groups, weight, bias, **options),
    name="group_norm",
    args=group_norm_args,
    truth=group_norm,
    bound=conditioned(32, of_largest=8),
    fused=True,
    special=False,
    bad=(
        bad("groups that do not divide", ShapeError, grouped(zeros(2, 4), 3)),
        bad("no groups", UsageError, grouped(zeros(2, 4), 0)),
        bad("half a group", UsageError, grouped(zeros(2, 4), 0.5)),
        bad("one axis", ShapeError, grouped(zeros(4), 2)),
        bad("a weight of another size", ShapeError, grouped(zeros(2, 4), 2, weight=zeros(3))),
        bad("an unknown activation", UsageError, grouped(zeros(2, 4), 2, activation="step")),
        bad("eps below zero", UsageError, grouped(zeros(2, 4), 2, eps=-1.0)),
        bad(
            "two dtypes",
            DtypeError,
            lambda: ops.group_norm(np.zeros((2, 4), np.float32), 2, zeros(4)),
        ),
    ),
)
register(
    ops.instance_norm,
    args=instance_norm_args,
    truth=instance_norm,
    bound=COMPOSED,
    fused=True,
    special=False,
    bad=(
        bad("one axis", ShapeError, lambda: ops.instance_norm(zeros(4))),
        bad(
            "a bias of another size",
            ShapeError,
            lambda: ops.instance_norm(zeros(2, 3, 4), None, zeros(3)),
        ),
        bad("eps below zero", UsageError, lambda: ops.instance_norm(zeros(2, 3, 4), eps=-1.0)),
        mixed(ops.instance_norm, (2, 3, 4), (4,)),
    ),
)


# ---- pixel shuffle -------------------------------------------------------------------------------


def shuffle_args(draw: Draw) -> Call:
    r = draw.integer(1, 3)
    sides = (draw.side(most=2), draw.side(most=3), draw.side(most=2), draw.side(most=2) * r * r)
    return Call(draw.array(sides, REAL), factor=r)


def unshuffle_args(draw: Draw) -> Call:
    r = draw.integer(1, 3)
    sides = (draw.side(most=2), draw.side(most=3) * r, draw.side(most=2) * r, draw.side(most=2))
    return Call(draw.array(sides, REAL), factor=r)


def pixel_shuffle(x: Any, factor: int) -> Any:
    N, H, W, packed = x.shape
    r = factor
    y = np.zeros((N, H * r, W * r, packed // (r * r)), x.dtype)
    for n, row, column, c in np.ndindex(*y.shape):
        i, j = row % r, column % r
        y[n, row, column, c] = x[n, row // r, column // r, (c * r + i) * r + j]
    return y


def pixel_unshuffle(x: Any, factor: int) -> Any:
    N, H, W, C = x.shape
    r = factor
    y = np.zeros((N, H // r, W // r, C * r * r), x.dtype)
    for n, row, column, k in np.ndindex(*y.shape):
        c, i, j = k // (r * r), k // r % r, k % r
        y[n, row, column, k] = x[n, row * r + i, column * r + j, c]
    return y


for f, args, truth, wrong in (
    (ops.pixel_shuffle, shuffle_args, pixel_shuffle, zeros(1, 2, 2, 6)),
    (ops.pixel_unshuffle, unshuffle_args, pixel_unshuffle, zeros(1, 3, 2, 1)),
):
    register(
        f,
        args=args,
        truth=truth,
        linear=True,
        exact_on_ints=True,
        bad=(
            bad("a factor that does not divide", ShapeError, lambda f=f, x=wrong: f(x, 2)),
            bad("three axes", ShapeError, lambda f=f: f(zeros(2, 2, 4), 2)),
            bad("no factor", UsageError, lambda f=f: f(zeros(1, 2, 2, 4), 0)),
            bad("half a factor", UsageError, lambda f=f: f(zeros(1, 2, 2, 4), 0.5)),
        ),
    )
