"""How far a computed value may be from the true one: formulas, never hand-tuned numbers.

A `Bound` maps the unit roundoff u of the dtype (2^-53, 2^-24, 2^-11) and the true values to the
allowed absolute error of each element.

    exact()            no error at all
    ulp(k)             k u |y|
    normwise(k)        k u max |y|
    dot(n, magnitude)  4 sqrt(n) u sum |x_i| |y_i|: the rounding errors of a sum of n products are as
                       good as random (Higham and Mary 2019), and four standard deviations are kept

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

Array = np.ndarray[Any, Any]
Bound = Callable[[float, Array], Any]
Truth = Callable[..., Any]
Rule = Callable[[Truth, tuple[Any, ...], dict[str, Any]], list[Bound]]
"""From an op's truth, its arrays and its parameters to a bound for each output."""


def unit_roundoff(dtype: Any) -> float:
    """Half the distance from 1 to the next number of `dtype`; 0 if it is no floating type."""
    dtype = np.dtype(dtype)
    return float(np.finfo(dtype).eps) / 2 if dtype.kind == "f" else 0.0


def exact() -> Bound:
    return lambda u, y: 0.0


def ulp(k: float) -> Bound:
    return lambda u, y: k * u * np.abs(y)


def normwise(k: float) -> Bound:
    return lambda u, y: k * u * np.abs(y).max(initial=0.0)


def dot(n: Any, magnitude: Any) -> Bound:
    return lambda u, y: 4 * np.sqrt(np.maximum(n, 1)) * u * magnitude


def combined(*bounds: Bound) -> Bound:
    """The sum: one error after the other."""
    return lambda u, y: sum(bound(u, y) for bound in bounds)


def as_tuple(results: Any) -> tuple[Any, ...]:
    return tuple(results) if isinstance(results, (tuple, list)) else (results,)


def on_floats(change: Callable[[Array], Array], arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """`arrays` with `change` applied to the floating ones."""
    return tuple(
        change(a) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in arrays
    )


def each(bound: Bound) -> Rule:
    """The same bound for every output, whatever the arguments."""
    return lambda truth, arrays, params: [bound] * len(as_tuple(truth(*arrays, **params)))


def sums() -> Rule:
    def rule(truth: Truth, arrays: tuple[Any, ...], params: dict[str, Any]) -> list[Bound]:
        counts = as_tuple(truth(*on_floats(np.ones_like, arrays), **params))
        magnitudes = as_tuple(truth(*on_floats(np.abs, arrays), **params))
        return [
            dot(np.abs(n), np.abs(m)) for n, m in zip(counts, magnitudes, strict=True)
        ]

    return rule


_RELATIVE_STEP = 2.0**-26
_DRAWS = 8


def conditioned(k: float, normwise_k: float = 0.0) -> Rule:
    def rule(truth: Truth, arrays: tuple[Any, ...], params: dict[str, Any]) -> list[Bound]:
        signs = np.random.default_rng(0)
        centre = as_tuple(truth(*arrays, **params))
        spread = [np.zeros(np.shape(y)) for y in centre]
        for _ in range(_DRAWS):

            def shaken(a: Array) -> Array:
                return a + a * (_RELATIVE_STEP * signs.choice([-1.0, 1.0], a.shape))

            moved = as_tuple(truth(*on_floats(shaken, arrays), **params))
            for i, (y, z) in enumerate(zip(centre, moved, strict=True)):
                if np.asarray(y).dtype.kind == "f":
                    difference = np.nan_to_num(np.abs(z - y) / _RELATIVE_STEP)
                    spread[i] = np.maximum(spread[i], difference)

        def bound_of(c: Array) -> Bound:
            return lambda u, y: u * (
                k * (np.abs(y) + c) + normwise_k * np.abs(y).max(initial=0.0)
            )

        return [bound_of(c) for c in spread]

    return rule
