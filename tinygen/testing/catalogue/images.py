"""Resizing and pixel shuffle."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.testing.bounds import conditioned
from tinygen.testing.catalogue import register
from tinygen.testing.catalogue.argument import bad, zeros
from tinygen.testing.catalogue.convolution import both
from tinygen.testing.catalogue.pooling import LINEAR
from tinygen.testing.drawing import REAL, Call, Draw

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
