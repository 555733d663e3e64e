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
from tinygen.tensor import Tensor
from tinygen.testing.bounds import as_tuple
from tinygen.testing.catalogue import Op
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
    Mutant("last of the derivative twice", "gradient", _weighted(lambda n: 1 + (np.arange(n) == n - 1))),
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


@dataclass
class Plant:
    """A mutant in place; it notes whether it ever made a difference."""

    mutant: Mutant
    made_a_difference: bool = False

    def __call__(self, x: Any) -> Any:
        """What the mutant makes of an array or Tensor."""
        where = self.mutant.where
        if where == "second order" and not isinstance(x, Tensor):
            return x
        with np.errstate(all="ignore"):
            changed = self.mutant.change(x)
        before, after = _data(x), _data(changed)
        if where == "value":
            changed = after = np.asarray(after).astype(before.dtype)
        differs = before.any() if where == "second order" else not _equal(before, after)
        self.made_a_difference |= bool(differs)
        return changed

    def into(self, op: Op) -> Op:
        """`op` with the mistake in it."""

        def fn(*values: Any, **params: Any) -> Any:
            if self.mutant.where in ("gradient", "second order"):
                values = tuple(self._in_gradient(v) for v in values)
            results = op.fn(*values, **params)
            if self.mutant.where in ("gradient", "second order"):
                return results
            changed = tuple(self._in_result(y) for y in as_tuple(results))
            return changed if isinstance(results, (tuple, list)) else changed[0]

        return replace(op, fn=fn)

    def _in_gradient(self, value: Any) -> Any:
        needs = isinstance(value, Tensor) and value.requires_grad
        return WrongGradient.apply(value, plant=self) if needs else value

    def _in_result(self, y: Any) -> Any:
        return (WrongValue if self.mutant.where == "value" else WrongGradient).apply(y, plant=self)


class WrongGradient(Function):
    """y = x;  dx = what the plant makes of g."""

    def forward(self, x: Any, *, plant: Plant) -> Any:
        return x[...]

    def backward(self, g: Any) -> Any:
        return self.params["plant"](g)


class WrongValue(Function):
    """y = what the plant makes of x;  dx = g."""

    def forward(self, x: Any, *, plant: Plant) -> Any:
        return plant(x)

    def backward(self, g: Any) -> Any:
        return g


class Scaled(Function):
    """y = x;  dx = 1.001 g: right in first order, wrong in second when applied to a gradient."""

    def forward(self, x: Any) -> Any:
        return x[...]

    def backward(self, g: Any) -> Any:
        return g * 1.001


def _data(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x


def _equal(a: Any, b: Any) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


# ---- judging -------------------------------------------------------------------------------------

QUICKEST = ("value", "exact_integers", "first_order", "adjoint", "second_order")
"""The laws that kill most, first."""


def judge(op: Op, mutant: Mutant, examples: int = 6) -> Verdict:
    """What becomes of `mutant` in `op`, under the op's laws with `examples` calls each."""
    reason = mutant.reason(op)
    if reason is not None:
        return Verdict("exempt", reason=reason)
    plant = Plant(mutant)
    wrong = plant.into(op)
    for name in (*QUICKEST, *(name for name in LAWS if name not in QUICKEST)):
        if LAWS[name].reason(op) is None:
            try:
                check_law(wrong, LAWS[name], examples)
            except LawError:
                return Verdict("killed", law=name)
    if plant.made_a_difference:
        return Verdict("survived", reason="it made a difference, and no law noticed")
    return Verdict("equivalent", reason="it made no difference on any call")
