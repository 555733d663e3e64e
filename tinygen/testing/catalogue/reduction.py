"""Sums, moments, products, norms and extremes over axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.testing.bounds import conditioned, each, sums, ulp
from tinygen.testing.catalogue import Bad, register
from tinygen.testing.catalogue.argument import Args, bad, mask, zeros
from tinygen.testing.drawing import NONZERO, REAL, Call, Domain, Draw


def folded(domain: Domain = REAL, least: int = 0, distinct: bool = False) -> Args:
    """x with the axes of a reduction; `least` elements along them."""

    def args(draw: Draw) -> Call:
        shape = draw.shape()
        axis = draw.axes(shape)
        shape = draw.filled(shape, axis) if least else shape
        x = draw.distinct(shape)[0] if distinct else draw.array(shape, domain)
        return Call(x, axis=axis, keepdims=draw.boolean())

    return args


def axes_of(x: Any, axis: Any) -> tuple[int, ...]:
    return tuple(range(x.ndim)) if axis is None else tuple(np.atleast_1d(axis) % max(x.ndim, 1))


def count(x: Any, axis: Any) -> int:
    return math.prod(x.shape[i] for i in axes_of(x, axis))


def total(x: Any, axis: Any, keepdims: bool) -> Any:
    return np.sum(x, axis=axis, keepdims=keepdims)


def mean(x: Any, axis: Any, keepdims: bool) -> Any:
    return total(x, axis, keepdims) / (count(x, axis) or math.nan)


def var(x: Any, axis: Any, keepdims: bool, correction: float) -> Any:
    freedom = count(x, axis) - correction
    squares = (x - mean(x, axis, True)) ** 2
    return total(squares, axis, keepdims) / (freedom if freedom > 0 else math.nan)


def logsumexp(x: Any, axis: Any, keepdims: bool) -> Any:
    return np.logaddexp.reduce(x, axis=axes_of(x, axis), keepdims=keepdims)


def norm(x: Any, ord: float, axis: Any, keepdims: bool) -> Any:
    size = np.abs(x)
    if ord in (math.inf, -math.inf):
        return (np.max if ord > 0 else np.min)(size, axis=axis, keepdims=keepdims)
    if ord == 0:
        return total((x != 0).astype(x.dtype), axis, keepdims)
    return total(size ** np.longdouble(ord), axis, keepdims) ** (1 / np.longdouble(ord))


def wrong_axes(f: Any) -> tuple[Bad, ...]:
    return (
        bad("no such axis", ShapeError, lambda: f(zeros(2, 3), axis=2)),
        bad("an axis twice", ShapeError, lambda: f(zeros(2, 3), axis=(0, -2))),
        bad("an axis of text", DtypeError, lambda: f(zeros(2, 3), axis="rows")),
    )


register(
    ops.sum,
    args=folded(),
    truth=total,
    bound=sums(),
    linear=True,
    exact_on_ints=True,
    bad=wrong_axes(ops.sum),
)
register(
    ops.mean,
    args=folded(),
    truth=mean,
    bound=sums(counting=total),
    linear=True,
    bad=wrong_axes(ops.mean),
)


def moment_args(draw: Draw) -> Call:
    """At least two elements a group, which every correction below leaves a degree of freedom."""
    shape = (draw.side(), draw.side(2))
    correction = draw.choice((0, 1, 0.5))
    return Call(
        draw.array(shape),
        axis=draw.choice((1, -1, (0, 1))) if shape[0] else 1,
        keepdims=draw.boolean(),
        correction=correction,
    )


def spread_args(draw: Draw) -> Call:
    """At least three elements a group, far from the kink of the square root at variance 0."""
    shape = (draw.side(), draw.choice((3, 4, 5)))
    return Call(
        draw.distinct(shape)[0],
        axis=draw.choice((1, -1)),
        keepdims=draw.boolean(),
        correction=draw.choice((0, 1)),
    )


register(
    ops.var,
    args=moment_args,
    truth=var,
    bound=conditioned(16),
    special=False,
    bad=wrong_axes(ops.var),
)
register(
    ops.std,
    args=spread_args,
    truth=lambda *a, **k: np.sqrt(var(*a, **k)),
    bound=conditioned(16),
    special=False,
    bad=wrong_axes(ops.std),
)
register(
    ops.prod,
    args=folded(Domain(-2.0, 2.0, wide=(-2.0, 2.0))),
    truth=np.prod,
    bound=each(ulp(64)),
    fused=True,
    special=False,
    bad=wrong_axes(ops.prod),
)


def norm_args(draw: Draw) -> Call:
    shape = draw.shape()
    axis = draw.axes(shape)
    ord = draw.choice((2, 1, 3, 2.5, 0, math.inf, -math.inf))
    shape = draw.filled(shape, axis)
    far = draw.distinct(shape, domain=Domain(0.3, 3.0))[0]
    signs = draw.indices(shape, 0, 2) * 2 - 1
    x = np.asarray(far * signs) if draw.regime == "smooth" else draw.array(shape, NONZERO)
    return Call(x, ord=ord, axis=axis, keepdims=draw.boolean())


register(
    ops.norm,
    args=norm_args,
    truth=norm,
    bound=conditioned(32),
    kinks=True,
    special=False,
    bad=(
        *wrong_axes(ops.norm),
        bad("a negative order", UsageError, lambda: ops.norm(zeros(3), -1)),
        bad("an order of text", UsageError, lambda: ops.norm(zeros(3), "fro")),
    ),
)


def cumsum_args(draw: Draw) -> Call:
    shape = draw.shape(1)
    axis = None if len(shape) == 1 and draw.boolean() else draw.axis(shape)
    return Call(draw.array(shape), axis=axis)


register(
    ops.cumsum,
    args=cumsum_args,
    truth=np.cumsum,
    bound=sums(),
    linear=True,
    exact_on_ints=True,
    bad=(
        bad("no axis for a matrix", ShapeError, lambda: ops.cumsum(zeros(2, 3))),
        bad("no such axis", ShapeError, lambda: ops.cumsum(zeros(2, 3), 2)),
    ),
)


def sum_to_args(draw: Draw) -> Call:
    whole = draw.shape()
    kept = whole[draw.integer(0, len(whole)) :]
    return Call(draw.array(whole), shape=tuple(1 if draw.boolean() else n for n in kept))


def sum_to(x: Any, shape: tuple[int, ...]) -> Any:
    y = np.zeros(shape, x.dtype)
    for index in np.ndindex(x.shape):
        tail = index[x.ndim - len(shape) :]
        y[tuple(0 if n == 1 else i for i, n in zip(tail, shape, strict=True))] += x[index]
    return y


register(
    ops.sum_to,
    args=sum_to_args,
    truth=sum_to,
    bound=sums(),
    linear=True,
    exact_on_ints=True,
    bad=(bad("a shape that does not broadcast", ShapeError, lambda: ops.sum_to(zeros(4), (2,))),),
)

for f, truth in ((ops.max, np.max), (ops.min, np.min)):
    register(
        f,
        args=folded(least=1, distinct=True),
        truth=truth,
        exact_on_ints=True,
        kinks=True,
        bad=(
            *wrong_axes(f),
            bad("nothing to compare", ShapeError, lambda f=f: f(zeros(0, 3), axis=0)),
        ),
    )

register(
    ops.logsumexp,
    args=folded(least=1),
    truth=logsumexp,
    bound=conditioned(8, absolute=8),
    bad=(
        *wrong_axes(ops.logsumexp),
        bad("nothing to compare", ShapeError, lambda: ops.logsumexp(zeros(0))),
    ),
)


def position_args(draw: Draw) -> Call:
    shape = draw.shape()
    axis = draw.axis(shape) if shape and draw.boolean() else None
    return Call(draw.array(draw.filled(shape, axis)), axis=axis, keepdims=draw.boolean())


for f, truth in ((ops.argmax, np.argmax), (ops.argmin, np.argmin)):
    register(
        f,
        args=position_args,
        truth=truth,
        differentiable=False,
        exact_on_ints=True,
        bad=(
            bad("no such axis", ShapeError, lambda f=f: f(zeros(2), axis=1)),
            bad("nothing to compare", ShapeError, lambda f=f: f(zeros(0))),
        ),
    )


def scattered(draw: Draw) -> Call:
    """Zeros and others, half and half."""
    call = folded()(draw)
    return call.changed(lambda x: np.where(mask(draw, x.shape), x, 0.0))


for f, truth in ((ops.any, np.any), (ops.all, np.all)):
    register(
        f,
        args=scattered,
        truth=truth,
        differentiable=False,
        exact_on_ints=True,
        bad=wrong_axes(f),
    )
