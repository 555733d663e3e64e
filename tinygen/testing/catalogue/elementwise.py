"""Arithmetic, powers, exponentials, steps, choices and casts."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen import ops
from tinygen.errors import DtypeError, ShapeError
from tinygen.testing.bounds import each, ulp
from tinygen.testing.catalogue import register
from tinygen.testing.catalogue.argument import bad, mask, one, several, two, zeros
from tinygen.testing.drawing import NONZERO, POSITIVE, REAL, Call, Domain, Draw

ROUNDED = each(ulp(2))
"""One rounding of the exact result."""
LIBRARY = each(ulp(8))
"""A good mathematical library: four units in the last place."""

EXPONENT = Domain(-3.0, 3.0, wide=(-80.0, 80.0))
ABOVE_MINUS_ONE = Domain(-0.8, 3.0, wide=(-0.99, 2.0**20))
INTEGERS = tuple(float(n) for n in range(-3, 4))
HALVES = tuple(n + 0.5 for n in range(-3, 3))


def mismatched(f: Any) -> tuple[Any, ...]:
    return (bad("shapes that do not broadcast", ShapeError, lambda: f(zeros(2, 3), zeros(2, 4))),)


# ---- arithmetic ----------------------------------------------------------------------------------

for f, truth, flags in (
    (ops.add, np.add, {"linear": True}),
    (ops.subtract, np.subtract, {"linear": True}),
    (ops.multiply, np.multiply, {}),
):
    register(
        f,
        args=several(2) if flags else two(),
        truth=truth,
        bound=ROUNDED,
        exact_on_ints=True,
        promotes=True,
        bad=mismatched(f),
        **flags,
    )

register(
    ops.divide,
    args=two(REAL, NONZERO),
    truth=np.divide,
    bound=ROUNDED,
    promotes=True,
    bad=mismatched(ops.divide),
)
register(
    ops.negative,
    args=one(),
    truth=np.negative,
    linear=True,
    exact_on_ints=True,
    bad=(bad("booleans", DtypeError, lambda: ops.negative(np.ones(2, bool))),),
)
register(ops.abs, args=one(NONZERO), truth=np.abs, exact_on_ints=True, kinks=True)


# ---- powers --------------------------------------------------------------------------------------


def power_args(draw: Draw) -> Call:
    """A positive base with any exponent, or any base with a whole one."""
    if draw.boolean():
        a, b = draw.broadcastable(2)
        exponent = Domain(-2.0, 2.0, wide=(-3.0, 3.0))
        return Call(draw.array(a, POSITIVE), draw.array(b, exponent))
    return Call(draw.array(draw.shape(), NONZERO), draw.choice((2, 3, 0, 1, -1, 4.0)))


register(
    ops.power,
    args=power_args,
    truth=np.power,
    bound=LIBRARY,
    promotes=True,
    bad=(
        *mismatched(ops.power),
        bad("fractions of integers", DtypeError, lambda: ops.power(np.arange(3), -1)),
        bad(
            "fractions of integer arrays",
            DtypeError,
            lambda: ops.power(np.arange(1, 4), np.array([1, -1, 2])),
        ),
    ),
)
register(ops.square, args=one(), truth=np.square, bound=ROUNDED, exact_on_ints=True)
register(ops.sqrt, args=one(POSITIVE), truth=np.sqrt, bound=ROUNDED)
register(ops.rsqrt, args=one(POSITIVE), truth=lambda x: 1 / np.sqrt(x), bound=each(ulp(4)))


# ---- transcendental ------------------------------------------------------------------------------

for f, truth, domain in (
    (ops.exp, np.exp, EXPONENT),
    (ops.expm1, np.expm1, EXPONENT),
    (ops.log, np.log, POSITIVE),
    (ops.log1p, np.log1p, ABOVE_MINUS_ONE),
    (ops.sin, np.sin, REAL),
    (ops.cos, np.cos, REAL),
):
    register(f, args=one(domain), truth=truth, bound=LIBRARY)


# ---- steps ---------------------------------------------------------------------------------------

for f, truth, kinks in (
    (ops.sign, np.sign, (0.0,)),
    (ops.floor, np.floor, INTEGERS),
    (ops.ceil, np.ceil, INTEGERS),
    (ops.round, np.round, HALVES),
):
    register(f, args=one(REAL.at(*kinks)), truth=truth, exact_on_ints=True, kinks=True)


# ---- choices -------------------------------------------------------------------------------------

for f, truth in ((ops.maximum, np.maximum), (ops.minimum, np.minimum)):
    register(
        f,
        args=several(2, distinct=True),
        truth=truth,
        exact_on_ints=True,
        promotes=True,
        kinks=True,
        bad=mismatched(f),
    )


def where_args(draw: Draw) -> Call:
    a, b, c = draw.broadcastable(3)
    return Call(mask(draw, a), draw.array(b), draw.array(c))


register(
    ops.where,
    args=where_args,
    truth=np.where,
    linear=True,
    exact_on_ints=True,
    promotes=True,
    bad=(
        bad("a condition of numbers", DtypeError, lambda: ops.where(zeros(2), zeros(2), zeros(2))),
        bad("shapes", ShapeError, lambda: ops.where(zeros(2) == 0, zeros(3), zeros(4))),
        bad("nothing to choose", DtypeError, lambda: ops.where(zeros(2) == 0, None, zeros(2))),
    ),
)


def clip_args(draw: Draw) -> Call:
    x, low, high = draw.distinct(*draw.broadcastable(3))
    kind = draw.integer(0, 3)
    if kind == 0:
        return Call(x, low, high)
    if kind == 1:
        return Call(x, -1.25 if draw.regime == "smooth" else -1, 1)
    return Call(x, low) if kind == 2 else Call(x, None, high)


def clip_truth(x: Any, low: Any = None, high: Any = None) -> Any:
    y = x if low is None else np.maximum(x, low)
    return y if high is None else np.minimum(y, high)


register(
    ops.clip,
    args=clip_args,
    truth=clip_truth,
    exact_on_ints=True,
    promotes=True,
    kinks=True,
    bad=(bad("shapes", ShapeError, lambda: ops.clip(zeros(2), zeros(3))),),
)


# ---- the same values -----------------------------------------------------------------------------

register(ops.copy, args=one(), truth=np.array, linear=True, exact_on_ints=True)
register(
    ops.astype,
    args=lambda draw: Call(draw.array(draw.shape()), dtype="float64"),
    truth=lambda x, dtype: x.astype(dtype),
    linear=True,
    exact_on_ints=True,
    own_dtype=True,
    bad=(
        bad("no dtype", DtypeError, lambda: ops.astype(zeros(2), "float33")),
        bad("complex", DtypeError, lambda: ops.astype(zeros(2), complex)),
    ),
)
