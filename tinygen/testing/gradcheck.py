"""`check_grad`: is the derivative that tinygen computes the derivative of the function?

The rules, and why (each was measured on planted mistakes):

- random *signed* cotangents: the gradient of `softmax(x).sum()` is zero, so a sum tests nothing;
- float64, derivatives extrapolated with an error estimate of their own (`derivatives`), and a
  tolerance made of that estimate alone: a gradient of size 1e-7 must be right too;
- the VJP must be linear in g (`|g| exp(x)` passes a comparison with positive cotangents), exactly
  zero for a zero cotangent, and the same bits when asked twice;
- a point where the function cannot be differentiated numerically fails the check instead of
  weakening it;
- `ok = error <= bound`, so that NaN fails.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygen import autograd
from tinygen.arguments import integer
from tinygen.errors import DtypeError
from tinygen.grad_mode import no_grad
from tinygen.tensor import Tensor, plain
from tinygen.testing.applying import leaves_of, witnessed
from tinygen.testing.derivatives import UNIT, Array, Arrays, flat, noise, slopes

Call = Callable[[tuple[Any, ...]], tuple[Tensor, ...]]
"""A function of leaves to its floating-point outputs."""

DENSE_DRAWS = 3
_REJECTED_LIMIT = 0.2
_ROUNDING = 64.0


class GradientError(AssertionError):
    """A derivative is wrong, or could not be checked."""


class GradReport(NamedTuple):
    """What was compared: how many pairs of cotangent and direction, how many of them could not be
    judged, and the largest error as a fraction of its bound."""

    compared: int
    rejected: int
    worst: float


class _Map(NamedTuple):
    """A function of arrays and the vector-Jacobian product to be judged."""

    title: str
    value: Callable[[Arrays], Arrays]
    vjp: Callable[[Arrays, Arrays], Arrays]


def check_grad(f: Callable[..., Any], *tensors: Any, order: int = 2, seed: int = 0) -> GradReport:
    """Check the gradient of `f(*tensors)` (a Tensor or several) up to `order`; raise on failure.

    `tensors` are Tensors or arrays; the floating ones are taken to float64 and differentiated, the
    others are passed as they are. Random cotangents, directions and their signs follow `seed`.
    Order 2 checks the gradient itself as a function of x and of the cotangent, computed with
    `create_graph=True`, and the symmetry of the Hessian; order 3 does the same to that gradient,
    and so on. Raises `GradientError`, naming the worst element.
    """
    order = integer("check_grad: order", order, least=1)
    if not callable(f):
        raise DtypeError(f"check_grad: f is a function of the tensors, not {type(f).__name__}.")
    return check_orders(f, tensors, tuple(range(1, order + 1)), seed)


def check_orders(
    f: Callable[..., Any], tensors: Sequence[Any], orders: tuple[int, ...], seed: int
) -> GradReport:
    """`check_grad` for the derivatives of `orders` alone."""
    arrays = [np.array(plain(t)) for t in tensors]
    places = [i for i, a in enumerate(arrays) if a.dtype.kind == "f"]
    point = tuple(arrays[i].astype(np.float64) for i in places)
    if not point:
        raise GradientError("check_grad: none of the arguments is a floating-point array.")

    def call(xs: tuple[Any, ...]) -> tuple[Tensor, ...]:
        values: list[Any] = list(arrays)
        for i, x in zip(places, xs, strict=True):
            values[i] = x
        results = f(*values)
        results = results if isinstance(results, (tuple, list)) else (results,)
        return tuple(y for y in results if isinstance(y, Tensor) and y.dtype.kind == "f")

    rng = np.random.default_rng(seed)
    reproduce = f"check_grad(f, *tensors, order={max(orders)}, seed={seed})"
    first = _first_order(call)
    outputs = first.value(point)
    if not outputs:
        raise GradientError("check_grad: f returned no floating-point Tensor.")
    reports = []
    if 1 in orders:
        reports.append(_check(first, point, outputs, rng, reproduce))
    below: Call = call
    for order in range(2, max(orders) + 1):
        cotangents = tuple(_signed(rng, y.shape) for y in outputs)
        start = (*point, *cotangents)
        gradient = _gradient_map(below, len(point), order)
        values = gradient.value(start)
        if order in orders:
            reports.append(_check(gradient, start, values, rng, reproduce))
            floor = 64 * UNIT * float(np.abs(flat(cotangents)) @ np.abs(flat(outputs)))
            _check_symmetry(gradient, start, len(point), floor, rng, reproduce)
        below, point, outputs = _gradient_of(below, len(point)), start, values
    compared, rejected, worst = zip(*reports, strict=True)
    return GradReport(sum(compared), sum(rejected), max(worst))


# ---- the maps under test -------------------------------------------------------------------------


def _first_order(call: Call) -> _Map:
    """x -> f(x), with the gradient that the engine computes."""

    def value(point: Arrays) -> Arrays:
        with no_grad():
            return tuple(y.data for y in call(tuple(Tensor(x) for x in point)))

    def vjp(point: Arrays, cotangents: Arrays) -> Arrays:
        leaves = leaves_of(point)
        ys, gs = _connected(call(leaves), cotangents)
        if not ys:
            return tuple(np.zeros_like(x) for x in point)
        ys, witnesses = witnessed(ys)
        inputs = (*leaves, *witnesses)
        found = autograd.grad(ys, inputs, gs, retain_graph=True, allow_unused=True)
        once, seen = _arrays(found[: len(leaves)], leaves), found[len(leaves) :]
        _check_untouched(gs, tuple(w.data for w in seen if w is not None), "the incoming gradient")
        again = _arrays(autograd.grad(ys, leaves, gs, allow_unused=True), leaves)
        for a, b in zip(once, again, strict=True):
            if a.tobytes() != b.tobytes():
                raise GradientError(
                    "check_grad: a second backward pass through the same graph gave other bits. "
                    "backward must not change what forward saved."
                )
        return once

    return _Map("gradient", value, vjp)


def _gradient_of(call: Call, inputs: int) -> Call:
    """(x, g) -> the gradient of <g, f> at x, as a function whose own gradient can be asked for."""

    def gradient(leaves: tuple[Any, ...]) -> tuple[Tensor, ...]:
        ys, gs = _connected(call(leaves[:inputs]), leaves[inputs:])
        xs = leaves[:inputs]
        none = (None,) * inputs
        found = autograd.grad(ys, xs, gs, create_graph=True, allow_unused=True) if ys else none
        return tuple(
            Tensor(np.zeros_like(x.data)) if v is None else v
            for v, x in zip(found, xs, strict=True)
        )

    return gradient


def _gradient_map(call: Call, inputs: int, order: int) -> _Map:
    """The same as a map under test, whose derivatives are those of `order`. Its values come from
    backward on raw arrays, the derivative from backward on Tensors."""

    def value(point: Arrays) -> Arrays:
        leaves = leaves_of(point[:inputs])
        ys, gs = _connected(call(leaves), point[inputs:])
        found = autograd.grad(ys, leaves, gs, allow_unused=True) if ys else (None,) * inputs
        return _arrays(found, leaves)

    def vjp(point: Arrays, cotangents: Arrays) -> Arrays:
        leaves = leaves_of(point)
        ys, gs = _connected(call(leaves[:inputs]), leaves[inputs:])
        if not ys:
            return tuple(np.zeros_like(x) for x in point)
        found = autograd.grad(ys, leaves[:inputs], gs, create_graph=True, allow_unused=True)
        pairs = [
            (v, w)
            for v, w in zip(found, cotangents, strict=True)
            if v is not None and v.requires_grad
        ]
        if not pairs:
            return tuple(np.zeros_like(x) for x in point)
        vs, ws = zip(*pairs, strict=True)
        return _arrays(autograd.grad(vs, leaves, ws, allow_unused=True), leaves)

    ordinal = {2: "second", 3: "third"}.get(order, f"{order}th")
    return _Map(f"{ordinal} derivative", value, vjp)


def _connected(
    ys: tuple[Tensor, ...], gs: tuple[Any, ...]
) -> tuple[tuple[Tensor, ...], tuple[Any, ...]]:
    """The outputs that have a graph, with their cotangents."""
    pairs = [(y, g) for y, g in zip(ys, gs, strict=True) if y.requires_grad]
    return tuple(y for y, _ in pairs), tuple(g for _, g in pairs)


def _arrays(found: tuple[Tensor | None, ...], leaves: tuple[Tensor, ...]) -> Arrays:
    grads = tuple(
        np.zeros_like(x.data) if v is None else v.data for v, x in zip(found, leaves, strict=True)
    )
    for v, x in zip(grads, leaves, strict=True):
        if v.shape != x.shape or v.dtype != x.dtype:
            raise GradientError(
                f"check_grad: the gradient of a {x.dtype}{list(x.shape)} is {v.dtype}"
                f"{list(v.shape)}; it must have the shape and dtype of its input."
            )
    return grads


# ---- the comparison ------------------------------------------------------------------------------


def _check(
    f: _Map, point: Arrays, outputs: Arrays, rng: np.random.Generator, reproduce: str
) -> GradReport:
    sizes = tuple(y.shape for y in outputs)
    kept_point = tuple(x.copy() for x in point)
    cotangents = _cotangents(rng, sizes)  # a list of tuples of arrays
    gradients = [f.vjp(point, gs) for gs in cotangents]
    _check_untouched(kept_point, point, "an input")
    _check_zero(f, point, sizes)
    _check_linear(f, point, outputs, cotangents, gradients)

    columns = np.stack([flat(gs) for gs in cotangents], axis=1)  # (outputs, cotangents)
    analytic = np.stack([flat(vs) for vs in gradients], axis=1)  # (inputs, cotangents)
    directions = _directions(rng, point)
    noises = noise(f.value, point, directions[0], columns)
    compared = rejected = 0
    worst = 0.0
    for direction in directions:
        numeric = slopes(f.value, point, direction, columns, noises)
        u = flat(direction)
        claimed = u @ analytic
        size = np.abs(u) @ np.abs(analytic)
        rounding = _ROUNDING * UNIT * math.sqrt(max(u.size, 1)) * (size + numeric.scale)
        bound = numeric.bound + rounding
        ok = np.abs(claimed - numeric.value) <= bound
        compared += ok.size
        rejected += int((~numeric.trusted).sum())
        if (numeric.trusted & ~ok).any() or not np.isfinite(claimed).all():
            column = int(np.argmax((numeric.trusted & ~ok) | ~np.isfinite(claimed)))
            raise GradientError(
                _explained(f, point, cotangents[column], gradients[column], reproduce)
            )
        judged = numeric.trusted & (bound > 0)
        if judged.any():
            worst = max(
                worst, float((np.abs(claimed - numeric.value)[judged] / bound[judged]).max())
            )
    if rejected > _REJECTED_LIMIT * compared:
        raise GradientError(
            f"check_grad: the {f.title} could not be judged in {rejected} of {compared} "
            "comparisons: the function has a kink, a jump or a pole too close to this point, or "
            f"is not smooth in float64. Choose another point. Reproduce: {reproduce}"
        )
    return GradReport(compared, rejected, worst)


def _signed(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Numbers of random sign, none of them small: every term counts."""
    return np.asarray(rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape))


def _cotangents(rng: np.random.Generator, shapes: tuple[tuple[int, ...], ...]) -> list[Arrays]:
    """Dense ones, one with a single non-zero and one with few: small rows count as well."""
    dense = [tuple(_signed(rng, shape) for shape in shapes) for _ in range(DENSE_DRAWS)]
    total = sum(math.prod(shape) for shape in shapes)
    if total <= 1:
        return dense
    single = np.zeros(total)
    single[rng.integers(total)] = rng.choice([-1.0, 1.0])
    few = np.where(rng.random(total) < 0.2, _signed(rng, (total,)), 0.0)
    few[rng.integers(total)] = 1.0
    return [*dense, _unflat(single, shapes), _unflat(few, shapes)]


def _directions(rng: np.random.Generator, point: Arrays) -> list[Arrays]:
    """Steps proportional to each element, so that a step never leaves 1/x or log x far behind."""

    def steps(x: Array) -> Array:
        typical = float(np.sqrt(np.mean(x * x))) if x.size else 0.0
        return _signed(rng, x.shape) * np.maximum(np.abs(x), typical / 16 or 1.0)

    dense = [tuple(steps(x) for x in point) for _ in range(2)]
    few = tuple(np.where(rng.random(x.shape) < 0.25, steps(x), 0.0) for x in point)
    return [*dense, few] if any(u.any() for u in few) else dense


def _unflat(values: Array, shapes: tuple[tuple[int, ...], ...]) -> Arrays:
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    return tuple(part.reshape(s) for part, s in zip(np.split(values, ends), shapes, strict=True))


def _check_untouched(before: Arrays, after: Arrays, what: str) -> None:
    for a, b in zip(before, after, strict=True):
        if a.tobytes() != b.tobytes():
            raise GradientError(f"check_grad: {what} was changed in place by forward or backward.")


def _check_zero(f: _Map, point: Arrays, shapes: tuple[tuple[int, ...], ...]) -> None:
    for v in f.vjp(point, tuple(np.zeros(shape) for shape in shapes)):
        if not (v == 0).all():
            raise GradientError(
                f"check_grad: the {f.title} for a zero cotangent is not exactly zero but {v!r}."
            )


def _check_linear(
    f: _Map, point: Arrays, outputs: Arrays, cotangents: list[Arrays], gradients: list[Arrays]
) -> None:
    """vjp(a g1 + b g2) = a vjp(g1) + b vjp(g2), with signs that |g| would not survive."""
    a, b = -1.75, 0.625
    mixed = tuple(a * g + b * h for g, h in zip(cotangents[0], cotangents[1], strict=True))
    found = f.vjp(point, mixed)
    floor = 64 * UNIT * float(np.abs(flat(mixed)) @ np.abs(flat(outputs)))
    for v, p, q in zip(found, gradients[0], gradients[1], strict=True):
        expected = a * p + b * q
        scale = float((np.abs(a * p) + np.abs(b * q)).max(initial=0.0))
        if not (np.abs(v - expected) <= 1e-9 * scale + floor).all():
            raise GradientError(
                f"check_grad: the {f.title} is not linear in the cotangent: "
                f"vjp({a} g1 + {b} g2) differs from {a} vjp(g1) + {b} vjp(g2) by "
                f"{np.abs(v - expected).max():.3g}, where the terms are {scale:.3g}."
            )


def _check_symmetry(
    second: _Map,
    point: Arrays,
    inputs: int,
    floor: float,
    rng: np.random.Generator,
    reproduce: str,
) -> None:
    """<u, H w> = <w, H u> for the Hessian H of <g, f>."""
    u, w, *_ = _directions(rng, point[:inputs])
    hu, hw = (flat(second.vjp(point, d)[:inputs]) for d in (u, w))
    left, right = float(flat(u) @ hw), float(flat(w) @ hu)
    scale = float(np.abs(flat(u)) @ np.abs(hw) + np.abs(flat(w)) @ np.abs(hu))
    if not abs(left - right) <= 1e-9 * scale + floor:
        raise GradientError(
            f"check_grad: the Hessian is not symmetric: {left!r} one way, {right!r} the other. "
            f"Reproduce: {reproduce}"
        )


def _explained(f: _Map, point: Arrays, cotangents: Arrays, gradient: Arrays, reproduce: str) -> str:
    """The message of a failure: one derivative per element finds the worst."""
    column = flat(cotangents)[:, None]
    worst: tuple[float, int, tuple[int, ...], float, float, float] | None = None
    for i, x in enumerate(point):
        for index in np.ndindex(x.shape):
            direction = tuple(np.zeros_like(p) for p in point)
            direction[i][index] = abs(x[index]) or 1.0
            unit = direction[i][index]
            found = slopes(f.value, point, direction, column, np.zeros(1))
            numeric, bound = float(found.value[0] / unit), float(found.bound[0] / unit)
            excess = abs(float(gradient[i][index]) - numeric) / max(bound, 1e-300)
            excess = math.inf if math.isnan(excess) else excess
            if worst is None or excess > worst[0]:
                worst = (excess, i, index, float(gradient[i][index]), numeric, bound)
    assert worst is not None
    _, i, index, claimed, numeric, bound = worst
    return (
        f"check_grad: the {f.title} is wrong. Worst for float input {i} (shape {point[i].shape}) "
        f"at index {index}: backward says {claimed!r}, the function {numeric!r} +- {bound:.1e}. "
        f"Reproduce: {reproduce}"
    )
