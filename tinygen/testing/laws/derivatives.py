"""Laws about the derivatives of an op."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.backend import Array
from tinygen.grad_mode import no_grad
from tinygen.tensor import Tensor
from tinygen.testing.applying import (
    Arrays,
    applied,
    assert_same,
    cotangents,
    floating,
    gradients,
    inputs,
    leaves_of,
    of_inputs,
    plain_ops,
    rounding_of,
    two_orders,
)
from tinygen.testing.bounds import Bound
from tinygen.testing.catalogue import Op
from tinygen.testing.compare import assert_close
from tinygen.testing.drawing import Call
from tinygen.testing.gradcheck import check_orders
from tinygen.testing.laws.law import (
    LawError,
    RejectedError,
    first_order_only,
    law,
    not_differentiable,
    one_input,
)


@law("smooth", exempt=not_differentiable)
def first_order(op: Op, call: Call, rng: np.random.Generator) -> None:
    """The gradient is the derivative of the value (`check_grad`)."""
    check_orders(of_inputs(op, call), inputs(op, call), (1,), int(rng.integers(2**31)))


@law("smooth", exempt=first_order_only)
def second_order(op: Op, call: Call, rng: np.random.Generator) -> None:
    """The gradient of the gradient is the derivative of the gradient (`check_grad`)."""
    check_orders(of_inputs(op, call), inputs(op, call), (2,), int(rng.integers(2**31)))


@law("smooth", exempt=not_differentiable)
def vjp_linearity(op: Op, call: Call, rng: np.random.Generator) -> None:
    """Backward is linear in the incoming gradient, and exactly zero for zero."""
    leaves, ys = applied(op, call)
    g, h = cotangents(ys, rng), cotangents(ys, rng)
    mixed = tuple(2 * a - 3 * b for a, b in zip(g, h, strict=True))
    zero = tuple(np.zeros_like(a) for a in g)
    floor = rounding_of(mixed, ys)
    parts = [gradients(ys, leaves, c, retain=True) for c in (g, h, mixed, zero)]
    for a, b, c, z in zip(*parts, strict=True):
        scale = float((2 * np.abs(a) + 3 * np.abs(b)).max(initial=0.0))
        if not (np.abs(c - (2 * a - 3 * b)) <= 1e-11 * scale + floor).all():
            raise LawError("vjp(2 g - 3 h) differs from 2 vjp(g) - 3 vjp(h).")
        if not (z == 0).all():
            raise LawError("the gradient for a zero cotangent is not exactly zero.")


@law(
    "integers",
    exempt=lambda op: not_differentiable(op) or (None if op.linear else "not a linear map"),
)
def adjoint(op: Op, call: Call, rng: np.random.Generator) -> None:
    """f(2 x - 3 y) = 2 f(x) - 3 f(y) and <g, f(x)> = <vjp(g), x>, on small integers: exactly where
    the op is exact on them."""
    f = of_inputs(op, call)
    xs = inputs(op, call)
    ys = tuple(rng.integers(-3, 4, x.shape).astype(np.float64) for x in xs)
    leaves = leaves_of(xs)
    fx, fy = floating(f(*leaves)), floating(f(*leaves_of(ys)))
    fz = floating(f(*leaves_of(2 * x - 3 * y for x, y in zip(xs, ys, strict=True))))
    slack = 0.0 if op.exact_on_ints else 1e-12
    for a, b, c in zip(fx, fy, fz, strict=True):
        scale = slack * (np.abs(a.data) + np.abs(b.data)).max(initial=0.0)
        assert_close(c, 2 * a.data - 3 * b.data, _constant(scale), what="f(2 x - 3 y)")
    gs = tuple(rng.integers(-3, 4, y.shape).astype(np.float64) for y in fx)
    left = _product(gs, [y.data for y in fx])
    grads = gradients(fx, leaves, gs)
    right = _product(grads, xs)
    size = _product([np.abs(v) for v in grads], [np.abs(x) for x in xs])
    if not abs(left - right) <= slack * size:
        raise LawError(f"<g, f(x)> = {left}, but <vjp(g), x> = {right}.")


@law("smooth", exempt=not_differentiable)
def single_precision(op: Op, call: Call, rng: np.random.Generator) -> None:
    """The float32 gradient is that of float64 to float32 accuracy."""
    leaves, ys = applied(op, call)
    gs = tuple(g.astype(np.float32).astype(np.float64) for g in cotangents(ys, rng))
    double = gradients(ys, leaves, gs)
    floor = 2.0**29 / 16 * rounding_of(gs, ys)  # as many u of float32
    leaves, ys = applied(op, call, np.float32)
    single = gradients(ys, leaves, [g.astype(y.dtype) for g, y in zip(gs, ys, strict=True)])
    largest = max((float(np.abs(v).max(initial=0.0)) for v in double), default=0.0)
    for s, d in zip(single, double, strict=True):
        assert_close(s, d, lambda u, y: 512 * u * largest + floor, what="the float32 gradient")


@law(
    "ties",
    exempt=lambda op: (
        not_differentiable(op) or (None if op.kinks else "differentiable on its whole domain")
    ),
)
def kinks(op: Op, call: Call, rng: np.random.Generator) -> None:
    """Where no derivative exists, the gradient is one of those nearby, or between them."""
    leaves, ys = applied(op, call)
    total = sum(y.size for y in ys)
    if total == 0:
        raise RejectedError
    one = np.zeros(total)
    one[rng.integers(total)] = 1.0
    ends = np.cumsum([y.size for y in ys])[:-1]
    gs = tuple(g.reshape(y.shape) for g, y in zip(np.split(one, ends), ys, strict=True))
    u = tuple(rng.uniform(-1, 1, x.shape) for x in leaves)
    slope = _product(gradients(ys, leaves, gs), u)

    f = of_inputs(op, call)

    def phi(point: Arrays) -> float:
        with no_grad():
            return _product(gs, [y.data for y in floating(f(*(Tensor(x) for x in point)))])

    def slope_near(w: Arrays) -> float:
        near = [x.data + 2.0**-14 * d for x, d in zip(leaves, w, strict=True)]
        step = 2.0**-24
        above, below = (
            phi(tuple(x + t * d for x, d in zip(near, u, strict=True))) for t in (step, -step)
        )
        return (above - below) / (2 * step)

    towards_extremes = [u, tuple(-d for d in u)]
    anywhere = [tuple(rng.uniform(-1, 1, d.shape) for d in u) for _ in range(48)]
    slopes = [slope_near(w) for w in towards_extremes + anywhere]
    low, high = min(slopes), max(slopes)
    slack = 1e-2 * max(abs(low), abs(high)) + 1e-6
    if not low - slack <= slope <= high + slack:
        raise LawError(
            f"at a kink the derivative along a direction is {slope}; nearby it lies between {low} "
            f"and {high}."
        )


@law("smooth", exempt=not_differentiable)
def each_input_alone(op: Op, call: Call, rng: np.random.Generator) -> None:
    """The gradient of an input is the same when the others need none or are raw arrays."""
    leaves, ys = applied(op, call)
    gs = cotangents(ys, rng)
    together = gradients(ys, leaves, gs)
    for position, wanted in zip(op.inputs(call), together, strict=True):
        for constant in (Tensor, np.asarray):
            values = [constant(a) if isinstance(a, np.ndarray) else a for a in call.arrays]
            values[position] = leaf = Tensor(call.arrays[position], requires_grad=True)
            alone = gradients(floating(op.fn(*values, **call.params)), [leaf], gs)
            what = f"the gradient of input {position} alone"
            assert_same(alone[0], wanted, what, rounding_of(gs, ys))


@law("smooth", exempt=not_differentiable)
def shared_history(op: Op, call: Call, rng: np.random.Generator) -> None:
    """Inputs cut from one tensor, and an op used twice: everything adds up once, in both orders."""
    xs = inputs(op, call)
    f = of_inputs(op, call)
    base = _joined(xs)

    def cut(z: Any) -> tuple[Any, ...]:
        ends = np.cumsum([0, *(x.size for x in xs)]).tolist()
        parts = zip(ends[:-1], ends[1:], xs, strict=True)
        return tuple(ops.reshape(z[a:b], x.shape) for a, b, x in parts)

    leaves = leaves_of(xs)
    ys = floating(f(*leaves))
    gs = cotangents(ys, rng)
    w = rng.uniform(-1, 1, base.shape)
    floor = rounding_of(gs, ys)
    apart = two_orders(ys, leaves, gs, cut(w), op.order)
    z = Tensor(base, requires_grad=True)
    shared = two_orders(floating(f(*cut(z))), (z,), gs, (w,), op.order)
    for order, (a, s) in enumerate(zip(apart, shared, strict=True), 1):
        assert_same(s[0], _joined(a), f"order {order}: inputs cut from one tensor", floor)
    twice = (*floating(f(*cut(z))), *floating(f(*cut(z))))
    doubled = gradients(twice, (z,), (*gs, *gs))
    assert_same(doubled[0], 2 * shared[0][0], "the gradient of an op applied twice", floor)


def _never_alike(op: Op) -> str | None:
    alike = any(_alike(inputs(op, call)) for call in op.samples)
    return one_input(op) or (None if alike else "no two inputs have one shape")


@law("smooth", exempt=_never_alike)
def same_tensor_twice(op: Op, call: Call, rng: np.random.Generator) -> None:
    """f(x, x) has the sum of both gradients."""
    xs = inputs(op, call)
    f = of_inputs(op, call)
    if not _alike(xs):
        raise RejectedError
    for i, j in _alike(xs):
        equal = list(xs)
        equal[j] = xs[i].copy()
        leaves = leaves_of(equal)
        ys = floating(f(*leaves))
        gs = cotangents(ys, rng)
        ws = [rng.uniform(-1, 1, x.shape) for x in xs]
        ws[j] = ws[i]
        apart = two_orders(ys, leaves, gs, tuple(ws), op.order)
        values = list(leaves_of(equal))
        values[j] = values[i]
        distinct = [k for k in range(len(xs)) if k != j]
        together = two_orders(
            floating(f(*values)),
            tuple(values[k] for k in distinct),
            gs,
            tuple(ws[k] for k in distinct),
            op.order,
        )
        for order, (a, t) in enumerate(zip(apart, together, strict=True), 1):
            for k, found in zip(distinct, t, strict=True):
                wanted = a[i] + a[j] if k == i else a[k]
                what = f"order {order}: input {k} where {i} and {j} are one"
                assert_same(found, wanted, what, rounding_of(gs, ys))


@law(
    "smooth",
    exempt=lambda op: (
        not_differentiable(op) or (None if op.fused else "made of plain ops: its own reference")
    ),
)
def reference(op: Op, call: Call, rng: np.random.Generator) -> None:
    """A fused op equals its reference of plain ops: value, gradient and second derivative."""
    xs = inputs(op, call)
    ws = tuple(rng.uniform(-1, 1, x.shape) for x in xs)
    gs: Arrays = ()
    results: list[tuple[Arrays, ...]] = []
    for context in (nullcontext(), plain_ops()):
        with context:
            leaves = leaves_of(xs)
            ys = floating(of_inputs(op, call)(*leaves))
            gs = gs or cotangents(ys, rng)
            values = tuple(y.data for y in ys)
            results.append((values, *two_orders(ys, leaves, gs, ws, op.order)))
    for what, fused, plain in zip(
        ("value", "gradient", "second derivative"), *results, strict=False
    ):
        for v, w in zip(fused, plain, strict=True):
            assert_same(v, w, f"the {what} of the fused op", rounding_of(gs, ys))


def _alike(xs: Arrays) -> list[tuple[int, int]]:
    """Pairs of inputs that one Tensor could be."""
    pairs = itertools.combinations(range(len(xs)), 2)
    return [(i, j) for i, j in pairs if xs[i].shape == xs[j].shape]


def _constant(allowed: float) -> Bound:
    return lambda u, y: allowed


def _product(a: Any, b: Any) -> float:
    return sum(float((x * y).sum()) for x, y in zip(a, b, strict=True))


def _joined(arrays: Arrays) -> Array:
    return np.concatenate([np.ravel(x) for x in arrays])
