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
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tinygen import ops
from tinygen.testing.catalogue import Op

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
    return x * 0 + ops.mean(x) if x.size else x


def _half(x: Any) -> Any:
    return ops.astype(ops.astype(x, "float16"), x.dtype)


MUTANTS: dict[str, Mutant] = {
    m.name: m
    for m in (
        Mutant("derivative x 1.001", "gradient", lambda g: g * 1.001),
        Mutant("derivative x 1.00001", "gradient", lambda g: g * 1.00001),
        Mutant("derivative x 2", "gradient", lambda g: g * 2),
        Mutant("derivative negated", "gradient", lambda g: -g),
        Mutant("derivative zeroed", "gradient", lambda g: g * 0),
        Mutant("derivative + 0.001", "gradient", lambda g: g + 0.001),
        Mutant("derivative rolled", "gradient", _flat(lambda g: ops.roll(g, 1))),
        Mutant("derivative in half precision", "gradient", _half),
        Mutant("derivative's mean", "gradient", _mean),
        Mutant("derivative's first row", "gradient", lambda g: _first_row(g) if g.ndim else g),
        Mutant(
            "derivative without its last", "gradient", _weighted(lambda n: np.arange(n) < n - 1)
        ),
        Mutant(
            "derivative's last twice", "gradient", _weighted(lambda n: 1 + (np.arange(n) > n - 2))
        ),
        Mutant("absolute cotangent", "cotangent", ops.abs),
        Mutant("squared cotangent", "cotangent", lambda g: g * g),
        Mutant("second order detached", "second order", ops.copy),
        Mutant("second order x 1.001", "second order", ops.copy),
        Mutant("value x 1.001", "value", lambda y: y * 1.001),
        Mutant("value x 1.00001", "value", lambda y: y * 1.00001),
        Mutant("value negated", "value", lambda y: -y),
        Mutant("value rolled", "value", _flat(lambda y: ops.roll(y, 1))),
        Mutant("value in half precision", "value", _half),
        Mutant("value without its last", "value", _weighted(lambda n: np.arange(n) < n - 1)),
    )
}
