"""How far a computed value may be from the true one: formulas, never hand-tuned numbers.

A `Bound` maps the unit roundoff u of the dtype (2^-53, 2^-24, 2^-11) and the true values to the
allowed absolute error of each element.

    exact()            no error at all
    ulp(k)             k u |y|
    normwise(k)        k u max |y|
    dot(n, magnitude)  4 sqrt(n) u sum |x_i| |y_i|: the rounding errors of a sum of n products are
                       as good as random (Higham and Mary 2019), and four standard deviations are
                       kept

In the op catalogue some bounds depend on the arguments, and are made from them and the op's own
truth by a `Rule`:

    sums()             `dot`, with n and the magnitude found by evaluating the truth on ones and on
                       absolute values: right for everything that is linear in each argument
    conditioned(k)     k u (|y| + c), where c is how much y moves when every argument is moved by
                       one relative unit: as good as the exact function of inputs rounded k times
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygen.backend import Array
from tinygen.testing.drawing import Call

Bound = Callable[[float, Array], Any]
Truth = Callable[..., Any]
Rule = Callable[[Truth, Call], list[Bound]]
"""From an op's truth and the arguments of a call to a bound for each output."""


def unit_roundoff(dtype: Any) -> float:
    """Half the distance from 1 to the next number of `dtype`; 0 if it is no floating type."""
    dtype = np.dtype(dtype)
    return float(np.finfo(dtype).eps) / 2 if dtype.kind == "f" else 0.0


def exact() -> Bound:
    """0: for what is copied, compared, or computed on small integers."""
    return lambda u, y: 0.0


def ulp(k: float) -> Bound:
    """k u |y|: each element within so many roundings of its own size."""
    return lambda u, y: k * u * np.abs(y)


def normwise(k: float) -> Bound:
    """k u max |y|: each element within so many roundings of the largest."""
    return lambda u, y: k * u * np.abs(y).max(initial=0.0)


def dot(n: Any, magnitude: Any) -> Bound:
    """4 sqrt(n) u magnitude, for sums of n terms whose absolute values add up to `magnitude`."""
    return lambda u, y: 4 * np.sqrt(np.maximum(n, 1)) * u * magnitude


# ---- rules: bounds that depend on the arguments --------------------------------------------------


def as_tuple(results: Any) -> tuple[Any, ...]:
    return tuple(results) if isinstance(results, (tuple, list)) else (results,)


def outputs(truth: Truth, call: Call) -> tuple[Array, ...]:
    return tuple(np.asarray(y) for y in as_tuple(truth(*call.arrays, **call.params)))


def each(bound: Bound) -> Rule:
    """The same bound for every output, whatever the arguments."""
    return lambda truth, call: [bound] * len(outputs(truth, call))


def sums(counting: Truth | None = None) -> Rule:
    """`dot` for truths that are linear in each argument; `counting`, applied to ones, tells the
    number of terms where the truth itself does not."""

    def rule(truth: Truth, call: Call) -> list[Bound]:
        counts = outputs(counting or truth, call.changed(np.ones_like))
        magnitudes = outputs(truth, call.changed(np.abs))
        return [dot(np.abs(n), np.abs(m)) for n, m in zip(counts, magnitudes, strict=True)]

    return rule


def _largest(x: Array) -> float:
    return float(np.abs(x[np.isfinite(x)]).max(initial=0.0))


_RELATIVE_STEP = 2.0**-26
_DRAWS = 8


def conditioned(
    k: float, *, of_largest: float = 0.0, of_inputs: float = 0.0, absolute: float = 0.0
) -> Rule:
    """k u (|y| + c), with `of_largest` u max |y|, `of_inputs` u max |x| and `absolute` u on top:
    for results whose rounding errors come from larger neighbours, larger inputs, or a 1 inside."""

    def rule(truth: Truth, call: Call) -> list[Bound]:
        signs = np.random.default_rng(0)
        centre = outputs(truth, call)
        moves = [np.zeros(y.shape) for y in centre]

        def shaken(a: Array) -> Array:
            step = a * (_RELATIVE_STEP * signs.choice([-1.0, 1.0], a.shape))
            return np.where(np.isfinite(a), a + step, a)

        for _ in range(_DRAWS):
            for i, y in enumerate(outputs(truth, call.changed(shaken))):
                if y.dtype.kind == "f":
                    move = np.nan_to_num(np.abs(y - centre[i]) / _RELATIVE_STEP)
                    moves[i] = np.maximum(moves[i], move)

        fixed = absolute + of_inputs * max(_largest(call.arrays[i]) for i in call.floats)

        def bound_of(c: Array) -> Bound:
            def bound(u: float, y: Array) -> Array:
                allowed = u * (k * (np.abs(y) + c) + fixed)
                return allowed + normwise(of_largest)(u, y) if of_largest else allowed

            return bound

        return [bound_of(c) for c in moves]

    return rule
