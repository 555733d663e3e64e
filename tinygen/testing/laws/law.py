"""What a law is: a check, the numbers that it wants, and the reasons why an op is exempt."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinygen.testing.catalogue import Op
from tinygen.testing.drawing import Call, Regime, SeededDraw

Check = Callable[[Op, Call, np.random.Generator], None]
Exemption = Callable[[Op], str | None]


class LawError(AssertionError):
    """An op broke a law."""


class RejectedError(Exception):
    """This call says nothing about this law; draw another."""


@dataclass(frozen=True)
class Law:
    """One property of an op."""

    name: str
    check: Check
    regimes: tuple[Regime, ...]
    """On what numbers; empty for those that the op names."""
    exemption: Exemption
    zero_size: bool
    drawn: bool
    """False: the arguments do not matter, one run is enough."""

    def reason(self, op: Op) -> str | None:
        """Why this law does not apply to `op`, or None."""
        return op.exempt.get(self.name) or self.exemption(op)

    def regime(self, op: Op, seed: int) -> Regime:
        regimes = self.regimes or op.regimes
        return regimes[seed % len(regimes)]

    def draw(self, op: Op, seed: int) -> Call:
        """The call of a seed."""
        start = (zlib.crc32(f"{op.name} {self.name}".encode()), seed)
        return op.args(SeededDraw(start, self.regime(op, seed), self.zero_size))

    def run(self, op: Op, seed: int) -> None:
        """Judge the call of a seed."""
        again = f"Reproduce: laws.check({op.name!r}, {self.name!r}, seed={seed})"
        self.judge(op, self.draw(op, seed), seed, again)

    def judge(self, op: Op, call: Call, seed: int, reproduce: str = "") -> None:
        """Judge one call; a failure says all that is known."""
        try:
            self.check(op, call, np.random.default_rng(seed))
        except RejectedError:
            raise
        except Exception as error:
            raise LawError(
                f"{op.name} breaks the law {self.name!r} for {op.name}({call!r}): "
                f"{type(error).__name__}: {error} {reproduce}"
            ) from error


LAWS: dict[str, Law] = {}
"""Every law by name, in the order in which the report prints them."""


def law(
    *regimes: Regime,
    exempt: Exemption = lambda op: None,
    zero_size: bool = False,
    drawn: bool = True,
) -> Callable[[Check], Check]:
    """Decorates a check and adds it to `LAWS` under its name."""

    def add(check: Check) -> Check:
        name = check.__name__
        LAWS[name] = Law(name, check, regimes, exempt, zero_size, drawn)
        return check

    return add


# ---- why a law does not apply --------------------------------------------------------------------


def not_differentiable(op: Op) -> str | None:
    return None if op.differentiable else "no derivative: integers, booleans or constants come out"


def first_order_only(op: Op) -> str | None:
    return not_differentiable(op) or (None if op.order >= 2 else "has a first derivative only")


def takes_no_array(op: Op) -> str | None:
    return None if op.takes_arrays else "takes no array"


def one_input(op: Op) -> str | None:
    """Why a law about two inputs says nothing."""
    several = any(len(op.inputs(call)) > 1 for call in op.samples)
    return not_differentiable(op) or (None if several else "has one differentiable input")
