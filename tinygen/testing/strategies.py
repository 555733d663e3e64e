"""Hypothesis strategies: the arguments of the catalogue and random programs, searched and shrunk.

Shapes, choices and a seed are drawn; a generator fills the arrays. That is faster than drawing
element by element, and failures still shrink to the smallest shape. Needs the `test` extra.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st

from tinygen.backend import Array
from tinygen.testing import layouts
from tinygen.testing.catalogue import Op
from tinygen.testing.drawing import REAL, Domain, Draw, Regime
from tinygen.testing.laws import Law
from tinygen.testing.programs import random_program

T = TypeVar("T")


class HypothesisDraw(Draw):
    """A `Draw` whose choices Hypothesis makes."""

    def __init__(self, draw: st.DrawFn, regime: Regime = "smooth", zero_size: bool = False) -> None:
        super().__init__(regime, zero_size)
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))


@st.composite
def drawn(
    draw: st.DrawFn,
    make: Callable[[Draw], T],
    regime: Regime = "smooth",
    zero_size: bool = False,
) -> T:
    """What `make` makes of a `Draw`: turns any argument description into a strategy."""
    return make(HypothesisDraw(draw, regime, zero_size))


# ---- shapes and arrays ---------------------------------------------------------------------------


def shapes(min_dims: int = 0, max_dims: int = 3, zero_size: bool = True) -> Any:
    """Shapes of at most about 50 elements, with sides 0, 1 and primes."""
    return drawn(lambda d: d.shape(min_dims, max_dims), zero_size=zero_size)


def broadcastable_shapes(n: int, zero_size: bool = True) -> Any:
    """`n` shapes that broadcast against each other."""
    return drawn(lambda d: d.broadcastable(n), zero_size=zero_size)


def arrays(
    shape: Sequence[int] | None = None,
    domain: Domain = REAL,
    regime: Regime = "smooth",
    layout: str | None = "C",
) -> Any:
    """float64 arrays of a regime ("integers" for exact ones), in a layout; None for any layout."""

    def make(d: Draw) -> Array:
        x = d.array(d.shape() if shape is None else shape, domain)
        name = d.choice(tuple(layouts.LAYOUTS)) if layout is None else layout
        return layouts.LAYOUTS[name](x)

    return drawn(make, regime)


def matrices(n: int, condition: float = 10.0) -> Any:
    """n x n matrices of a known condition number."""
    return drawn(lambda d: d.matrix(n, condition))


# ---- calls and programs --------------------------------------------------------------------------


def calls(op: Op, regime: Regime = "smooth", zero_size: bool = False) -> Any:
    """Arguments of an op of the catalogue."""
    return drawn(op.args, regime, zero_size)


def calls_for(op: Op, law: Law) -> Any:
    """Arguments of the kind that a law wants."""
    regimes = law.regimes or op.regimes
    return st.sampled_from(regimes).flatmap(lambda regime: calls(op, regime, law.zero_size))


def seeds() -> Any:
    """Seeds for what a law draws itself."""
    return st.integers(0, 2**31 - 1)


def programs(max_steps: int = 12) -> Any:
    """Random programs; see `tinygen.testing.programs`."""
    return drawn(lambda d: random_program(d, max_steps))
