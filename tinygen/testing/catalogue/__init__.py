"""The op catalogue: what each public op promises, and how to draw its arguments.

An entry is everything that is needed to put an op under every law of `tinygen.testing.laws`:

    register(
        ops.tanh,
        args=lambda draw: Call(draw.array(draw.shape())),    # see `drawing`
        truth=np.tanh,                                       # independent of tinygen, on longdouble
        bound=bounds.each(bounds.ulp(4)),                    # a formula, see `bounds`
    )

Your own op (a `tg.Function`) is registered the same way, and `laws.check_all("name")` proves it.
The truth is written in NumPy or `math`, takes the arrays (the floating ones as `numpy.longdouble`,
where the machine has it more precise than float64) and the parameters, and returns what the op must
return.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tinygen.testing.bounds import Rule, Truth, each, exact
from tinygen.testing.drawing import Call, Draw, Regime, SeededDraw


@dataclass(frozen=True)
class Bad:
    """A call that must fail with a documented error."""

    why: str
    error: type[Exception]
    call: Callable[[], Any]


@dataclass(frozen=True, repr=False)
class Op:
    """An entry of the catalogue."""

    name: str
    fn: Callable[..., Any]
    args: Callable[[Draw], Call]
    truth: Truth
    bound: Rule = field(default_factory=lambda: each(exact()))

    differentiable: bool = True
    constants: tuple[int, ...] = ()
    """Positions of floating arrays that are not differentiated, as a mask."""
    takes_arrays: bool = True
    own_dtype: bool = False
    """The result has the dtype of the truth, not of the arguments."""
    promotes: bool = False
    """float32 and float64 may be mixed."""
    fused: bool = False
    """Some node of it is a `FusedFunction`."""
    order: int = 2
    """Derivatives are right up to this order."""
    linear: bool = False
    """Linear in all floating inputs together: f(a x + b y) = a f(x) + b f(y)."""
    exact_on_ints: bool = False
    """Small integers in, exactly the integers of the truth out, in any order of summation."""
    kinks: bool = False
    """Under the regime "ties" the arguments lie on points without a derivative."""
    regimes: tuple[Regime, ...] = ("smooth", "ties", "wide")
    """What the value is compared on."""
    special: bool = True
    """NaN, infinities and signed zeros follow the truth."""
    bad: tuple[Bad, ...] = ()
    exempt: Mapping[str, str] = field(default_factory=dict)
    """Laws that do not apply, each with the reason."""

    def __repr__(self) -> str:
        return f"Op({self.name!r})"

    def inputs(self, call: Call) -> tuple[int, ...]:
        """The positions of the arrays that the op is differentiated by."""
        return tuple(i for i in call.floats if i not in self.constants)

    @cached_property
    def samples(self) -> tuple[Call, ...]:
        """A few smooth calls, always the same."""
        return tuple(self.args(SeededDraw(seed)) for seed in range(60))


CATALOGUE: dict[str, Op] = {}
"""Every registered op by name."""

FAMILIES = (
    "creation",
    "elementwise",
    "activations",
    "comparison",
    "reduction",
    "shape",
    "indexing",
    "linalg",
    "fused",
    "attention",
    "losses",
    "convolution",
    "pooling",
    "image_norms",
    "images",
)


def register(fn: Callable[..., Any], *, name: str | None = None, **entry: Any) -> Op:
    """Add an op to the catalogue; the keywords are the fields of `Op`."""
    op = Op(name=name or fn.__name__, fn=fn, **entry)
    if op.name in CATALOGUE:
        raise ValueError(f"the catalogue has an op {op.name!r} already; give another name.")
    CATALOGUE[op.name] = op
    return op


def load() -> dict[str, Op]:
    """The catalogue with tinygen's own ops in it."""
    for family in FAMILIES:
        importlib.import_module(f"tinygen.testing.catalogue.{family}")
    return CATALOGUE
