"""The tests, tested: every op with a mistake planted in it must break one of its own laws.

A mutant of the derivative multiplies, moves or forgets part of what `backward` returns; it is an
identity op put in front of each input (or behind each output), whose own backward is wrong. So it
is a mistake of the op's whole vector-Jacobian product, in both orders. A mutant of the value
changes what comes out. The laws see an op like any other:

    judge(load()["tanh"], MUTANTS["derivative x 1.00001"]).fate      "killed"

A mutant that changed nothing on any call is *equivalent*: no test could tell (the zeroed gradient
of `floor`, which is zero). One that did change something and broke no law has *survived*: a hole in
the laws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tinygen import ops
from tinygen.function import Function
from tinygen.tensor import Tensor, plain
from tinygen.testing.applying import applied, cotangents, two_orders
from tinygen.testing.bounds import as_tuple
from tinygen.testing.catalogue import Op
from tinygen.testing.drawing import Call
from tinygen.testing.laws import LAWS, LawError, check_law

Change = Callable[[Any], Any]
Where = Literal["gradient", "cotangent", "second order", "value"]
Fate = Literal["killed", "equivalent", "survived", "exempt"]


@dataclass(frozen=True)
class Mutant:
    """A mistake: where it sits, and what it does to the array that passes there."""

    name: str
    where: Where
    change: Change

    def reason(self, op: Op) -> str | None:
        """Why `op` cannot have this mistake, or None."""
        if self.where != "value" and not op.differentiable:
            return "no derivative: integers, booleans or constants come out"
        if self.where == "second order" and op.order < 2:
            return "has a first derivative only"
        return None


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant, and by which law."""

    fate: Fate
    law: str = ""
    reason: str = ""


# ---- the mistakes --------------------------------------------------------------------------------


def _flat(change: Change) -> Change:
    """`change` on the elements in a row."""
    return lambda x: ops.reshape(change(ops.reshape(x, (-1,))), x.shape)


def _weighted(weights: Callable[[int], Any]) -> Change:
    """Each element times its own factor."""
    return _flat(lambda x: x * np.asarray(weights(x.shape[0]), x.dtype))


def _first_row(x: Any) -> Any:
    keep = np.zeros(x.shape, x.dtype)
    keep[:1] = 1
    return x * keep


def _mean(x: Any) -> Any:
    return x * 0 + ops.mean(x) if x.shape and 0 not in x.shape else x


def _half(x: Any) -> Any:
    return ops.astype(ops.astype(x, "float16"), x.dtype)


def _negated(y: Any) -> Any:
    return ~y if y.dtype == bool else -y


ALL = (
    Mutant("derivative x 1.001", "gradient", lambda g: g * 1.001),
    Mutant("derivative x 1.00001", "gradient", lambda g: g * 1.00001),
    Mutant("derivative x 2", "gradient", lambda g: g * 2),
    Mutant("derivative negated", "gradient", lambda g: -g),
    Mutant("derivative zeroed", "gradient", lambda g: g * 0),
    Mutant("derivative + 0.001", "gradient", lambda g: g + 0.001),
    Mutant("derivative rolled", "gradient", _flat(lambda g: ops.roll(g, 1))),
    Mutant("derivative in half precision", "gradient", _half),
    Mutant("mean of the derivative", "gradient", _mean),
    Mutant("first row of the derivative", "gradient", lambda g: _first_row(g) if g.shape else g),
    Mutant("derivative without its last", "gradient", _weighted(lambda n: np.arange(n) < n - 1)),
    Mutant(
        "last of the derivative twice", "gradient", _weighted(lambda n: 1 + (np.arange(n) == n - 1))
    ),
    Mutant("|cotangent|", "cotangent", lambda g: ops.abs(g)),
    Mutant("cotangent squared", "cotangent", lambda g: g * g),
    Mutant("second order detached", "second order", lambda g: g.detach()),
    Mutant("second order x 1.001", "second order", lambda g: Scaled.apply(g)),
    Mutant("value x 1.001", "value", lambda y: y * 1.001),
    Mutant("value x 1.00001", "value", lambda y: y * 1.00001),
    Mutant("value negated", "value", _negated),
    Mutant("value rolled", "value", lambda y: np.roll(y, 1)),
    Mutant("value in half precision", "value", lambda y: y.astype(np.float16)),
    Mutant("value without its last", "value", _weighted(lambda n: np.arange(n) < n - 1)),
)
MUTANTS = {mutant.name: mutant for mutant in ALL}


# ---- planting them -------------------------------------------------------------------------------


def planted(op: Op, mutant: Mutant) -> Op:
    """`op` with the mistake in it."""
    change, where = mutant.change, mutant.where

    def before(value: Any) -> Any:
        needs = isinstance(value, Tensor) and value.requires_grad
        return WrongGradient.apply(value, change=change, where=where) if needs else value

    def after(y: Any) -> Any:
        if where == "value":
            return WrongValue.apply(y, change=change)
        return WrongGradient.apply(y, change=change, where=where)

    def fn(*values: Any, **params: Any) -> Any:
        if where in ("gradient", "second order"):
            return op.fn(*(before(v) for v in values), **params)
        results = op.fn(*values, **params)
        changed = tuple(after(y) for y in as_tuple(results))
        return changed if isinstance(results, (tuple, list)) else changed[0]

    return replace(op, fn=fn)


class WrongGradient(Function):
    """y = x;  dx = a wrong g; a mistake of the second order leaves the first as it is."""

    def forward(self, x: Any, *, change: Change, where: Where) -> Any:
        return x[...]

    def backward(self, g: Any) -> Any:
        if self.params["where"] == "second order" and not isinstance(g, Tensor):
            return g
        return self.params["change"](g)


class WrongValue(Function):
    """y = a wrong x, of x's dtype;  dx = g."""

    def forward(self, x: Any, *, change: Change) -> Any:
        return np.asarray(change(x)).astype(x.dtype)

    def backward(self, g: Any) -> Any:
        return g


class Scaled(Function):
    """y = x;  dx = 1.001 g. Applied to a gradient: right in first order, wrong in second."""

    def forward(self, x: Any) -> Any:
        return x[...]

    def backward(self, g: Any) -> Any:
        return g * 1.001


# ---- judging -------------------------------------------------------------------------------------

QUICKEST = ("value", "exact_integers", "first_order", "adjoint", "second_order")
"""The laws that kill most, first."""


def judge(op: Op, mutant: Mutant, examples: int = 12) -> Verdict:
    """What becomes of `mutant` in `op`, under the op's laws with `examples` calls each."""
    reason = mutant.reason(op)
    if reason is not None:
        return Verdict("exempt", reason=reason)
    wrong = planted(op, mutant)
    laws = [LAWS[name] for name in (*QUICKEST, *(name for name in LAWS if name not in QUICKEST))]
    laws = [law for law in laws if law.reason(op) is None]
    for law in laws:
        try:
            check_law(wrong, law, examples)
        except LawError:
            return Verdict("killed", law=law.name)
    for law in laws:
        for seed in range(examples):
            if law.drawn and differs(op, wrong, law.draw(op, seed)):
                return Verdict("survived", reason=f"{law.name} sees a difference, and is content")
    return Verdict("equivalent", reason="the same numbers on every call")


def differs(op: Op, other: Op, call: Call) -> bool:
    """Whether two ops give other numbers for `call`: in value, or in a derivative."""
    with np.errstate(all="ignore"):
        pairs = zip(_all(op, call), _all(other, call), strict=True)
        return not all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)


def _all(op: Op, call: Call) -> list[Any]:
    """The value of a call and, with weights that are always the same, its derivatives."""
    rng = np.random.default_rng(0)
    values = as_tuple(op.fn(*call.arrays, **call.params))
    everything = [plain(y) for y in values]
    if op.differentiable:
        leaves, ys = applied(op, call)
        gs = cotangents(ys, rng)
        ws = tuple(rng.uniform(-1, 1, x.shape) for x in leaves)
        everything += [v for order in two_orders(ys, leaves, gs, ws, op.order) for v in order]
    return everything
