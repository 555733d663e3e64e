"""Random arguments for ops: what a catalogue entry draws from.

An entry is described once, as a function of a `Draw`:

    def args(draw):
        shape = draw.shape()
        return Call(draw.array(shape, REAL), axis=draw.axis(shape))

and a `Draw` needs a single primitive, `integer`. `SeededDraw` takes it from NumPy (fast, nothing to
install), `strategies.draws` from Hypothesis (searches and shrinks). Arrays are not drawn element by
element: shape, seed and regime are chosen, and a generator fills the array.

The *regime* says which numbers a law wants: smooth (away from kinks), integers, ties (many equal
values and every kink), wide (scales from 2^-20 to 2^20), special (NaN, infinities, signed zero,
subnormal). Every number is a float32, so that float32 and float64 runs see the same inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from tinygen.backend import Array

Regime = Literal["smooth", "integers", "ties", "wide", "special"]
T = TypeVar("T")

SIDES = (2, 3, 1, 5, 4, 7, 11)
SPECIALS = (math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-40, -1e-40, 1e36, -1e36, 1.0)


@dataclass(frozen=True)
class Domain:
    """Where an argument may lie. `low` to `high` is the everyday range, `wide` the range in which
    the op still has a value in float32, and derivatives jump or grow without bound at `kinks`."""

    low: float
    high: float
    kinks: tuple[float, ...] = ()
    wide: tuple[float, float] = (-(2.0**20), 2.0**20)

    def at(self, *kinks: float) -> Domain:
        return Domain(self.low, self.high, kinks, self.wide)


REAL = Domain(-3.0, 3.0)
POSITIVE = Domain(0.2, 4.0, wide=(2.0**-20, 2.0**20))
NONZERO = Domain(-3.0, 3.0, kinks=(0.0,))


class Call:
    """The arguments of one application: arrays by position, everything else by name."""

    def __init__(self, *arrays: Any, **params: Any) -> None:
        self.arrays = arrays
        self.params = params

    def __repr__(self) -> str:
        given = [
            f"{a.dtype}{list(a.shape)}" if isinstance(a, np.ndarray) else repr(a)
            for a in self.arrays
        ]
        return ", ".join(given + [f"{k}={v!r}" for k, v in self.params.items()])

    @property
    def floats(self) -> tuple[int, ...]:
        """The positions of the floating-point arrays."""
        return tuple(
            i
            for i, a in enumerate(self.arrays)
            if isinstance(a, np.ndarray) and a.dtype.kind == "f"
        )

    def cast(self, dtype: Any) -> Call:
        """The floating arrays in another dtype; those that have it keep their layout."""
        return self.changed(lambda a: a.astype(dtype, copy=False))

    def changed(self, change: Callable[[Array], Array]) -> Call:
        """The same call with `change` applied to the floating arrays."""
        floats = self.floats
        arrays = (change(a) if i in floats else a for i, a in enumerate(self.arrays))
        return Call(*arrays, **self.params)


class Draw:
    """Choices of shapes, axes and values; `zero_size` lets sides be 0."""

    def __init__(self, regime: Regime = "smooth", zero_size: bool = False) -> None:
        self.regime = regime
        self.zero_size = zero_size
        self._rng: np.random.Generator | None = None

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high], both included."""
        raise NotImplementedError

    @property
    def rng(self) -> np.random.Generator:
        """What fills the arrays of this call."""
        if self._rng is None:
            self._rng = np.random.default_rng(self.integer(0, 2**31 - 1))
        return self._rng

    # ---- choices

    def boolean(self) -> bool:
        return self.integer(0, 1) == 1

    def choice(self, options: Sequence[T]) -> T:
        return options[self.integer(0, len(options) - 1)]

    def side(self, least: int = 0, most: int = 7) -> int:
        """The length of an axis; 0 only if asked for by `zero_size` and allowed by `least`."""
        if least == 0 and self.zero_size and self.boolean():
            return 0
        return self.choice([s for s in SIDES if least <= s <= most])

    def shape(self, min_dims: int = 0, max_dims: int = 3, least: int = 0) -> tuple[int, ...]:
        """At most about 50 elements: a wrong index shows on small arrays already."""
        sides: list[int] = []
        room = 50
        for _ in range(self.integer(min_dims, max_dims)):
            sides.append(self.side(least, max(room, 1)))
            room //= max(sides[-1], 1)
        return tuple(sides)

    def broadcastable(self, n: int, min_dims: int = 0, max_dims: int = 3) -> list[tuple[int, ...]]:
        """Shapes that broadcast against each other: leading axes left out, sides turned to 1."""
        whole = self.shape(min_dims, max_dims)
        shapes = [whole]
        for _ in range(n - 1):
            kept = whole[self.integer(0, len(whole)) :] if self.boolean() else whole
            shapes.append(tuple(1 if self.integer(0, 3) == 0 else side for side in kept))
        first = self.integer(0, n - 1)
        return shapes[first:] + shapes[:first]

    def axis(self, shape: Sequence[int]) -> int:
        """An axis of a shape that has one, counted from either end."""
        return self.integer(-len(shape), len(shape) - 1)

    def axes(self, shape: Sequence[int]) -> int | tuple[int, ...] | None:
        """What a reduction takes: None, one axis, or several."""
        kind = self.integer(0, 2) if shape else 0
        if kind == 0:
            return None
        if kind == 1:
            return self.axis(shape)
        return tuple(i for i in self.permutation(len(shape)) if i == 0 or self.boolean())

    def filled(
        self, shape: Sequence[int], axes: int | Sequence[int] | None, least: int = 1
    ) -> tuple[int, ...]:
        """`shape` with at least `least` elements along each of `axes`."""
        chosen = range(len(shape)) if axes is None else np.atleast_1d(axes) % max(len(shape), 1)
        return tuple(max(side, least) if i in chosen else side for i, side in enumerate(shape))

    def competing(self, shape: Sequence[int], axis: int) -> tuple[int, ...]:
        """`shape` for a softmax over `axis`: over a single element its derivative is nothing but
        rounding, so where derivatives are judged there are two at least."""
        return self.filled(shape, axis, 2 if self.regime == "smooth" else 1)

    def permutation(self, n: int) -> list[int]:
        rest, order = list(range(n)), []
        while rest:
            order.append(rest.pop(self.integer(0, len(rest) - 1)))
        return order

    # ---- arrays

    def indices(self, shape: Sequence[int], low: int, high: int) -> Array:
        """int64 in [low, high)."""
        if 0 in shape:
            return np.zeros(tuple(shape), np.int64)
        return self.rng.integers(low, high, tuple(shape))

    def array(self, shape: Sequence[int], domain: Domain = REAL) -> Array:
        """float64 numbers of `domain`, of the kind that the regime asks for."""
        values = getattr(self, f"_{self.regime}")(tuple(shape), domain)
        return np.asarray(values.astype(np.float32).astype(np.float64))

    def matrix(self, n: int, condition: float = 10.0) -> Array:
        """An n x n matrix of known condition number: singular values from 1 down to 1 / condition
        between random rotations."""
        left, right = (np.linalg.qr(self.rng.standard_normal((n, n)))[0] for _ in range(2))
        return np.asarray((left * np.geomspace(1.0, 1.0 / condition, n)) @ right)

    def distinct(self, *shapes: Sequence[int], domain: Domain = REAL) -> list[Array]:
        """Arrays whose values are well apart, within and between them, for ops that compare (in
        other regimes than smooth they are as any)."""
        if self.regime != "smooth":
            return [self.array(shape, domain) for shape in shapes]
        sizes = [math.prod(shape) for shape in shapes]
        total = sum(sizes)
        grid = np.linspace(domain.low, domain.high, max(total, 2))[:total]
        spacing = (domain.high - domain.low) / max(total - 1, 1)
        values = self.rng.permutation(grid + spacing * self.rng.uniform(-0.3, 0.3, total))
        parts = np.split(values.astype(np.float32).astype(np.float64), np.cumsum(sizes)[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    def _smooth(self, shape: tuple[int, ...], domain: Domain) -> Array:
        values = np.asarray(self.rng.uniform(domain.low, domain.high, shape))
        if domain.kinks:  # stand off every kink, and stay on the same side of it
            kinks = np.sort(np.array(domain.kinks))
            gap = float(np.diff(kinks).min(initial=domain.high - domain.low))
            nearest = kinks[np.abs(values[..., None] - kinks).argmin(-1)]
            away = np.where(values < nearest, -1.0, 1.0)
            margin = min(0.05 * (domain.high - domain.low), 0.25 * gap)
            values = np.where(
                np.abs(values - nearest) < margin,
                nearest + away * margin * self.rng.uniform(1.0, 1.5, shape),
                values,
            )
        return values

    def _integers(self, shape: tuple[int, ...], domain: Domain) -> Array:
        low, high = max(math.ceil(domain.low), -6), min(math.floor(domain.high), 6)
        return self.rng.integers(low, high + 1, shape).astype(np.float64)

    def _ties(self, shape: tuple[int, ...], domain: Domain) -> Array:
        low, high = max(math.ceil(domain.low), -2), min(math.floor(domain.high), 2)
        values = [*range(low, high + 1), *domain.kinks] or [domain.low, domain.high]
        return np.asarray(self.rng.choice(np.array(values, float), shape))

    def _wide(self, shape: tuple[int, ...], domain: Domain) -> Array:
        low, high = domain.wide
        exponents = self.rng.uniform(-20, 20, shape)
        signs = self.rng.choice([-1.0, 1.0], shape) if low < 0 else np.ones(shape)
        return np.clip(signs * 2.0**exponents, low, high)

    def _special(self, shape: tuple[int, ...], domain: Domain) -> Array:
        return self.rng.choice(np.array(SPECIALS), shape)


class SeededDraw(Draw):
    """A `Draw` that follows a seed."""

    def __init__(
        self, seed: int | Sequence[int], regime: Regime = "smooth", zero_size: bool = False
    ) -> None:
        super().__init__(regime, zero_size)
        self._choices = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        return int(self._choices.integers(low, high + 1))
