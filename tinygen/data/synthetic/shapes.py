"""Pictures with known factors of variation, after dSprites (Matthey et al. 2017): one white shape
on black, of known kind, size, turn and place.

    factor    values   meaning
    shape          3   square, ellipse, heart
    scale          6   0.5 ... 1 of the largest
    rotation      40   k 2 pi / 40, anticlockwise
    x             32   left to right
    y             32   top to bottom

All 737,280 combinations are numbered as in dSprites, y fastest. The rasteriser is our own: a pixel
is 255 times the share of its samples x samples points that lie inside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygen.arguments import integer
from tinygen.errors import OutOfRangeError, ShapeError
from tinygen.random import Generator

_POINTS = 1 << 21  # tested at once


@dataclass(frozen=True)
class Shapes:
    """The set at `size` x `size` pixels, antialiased with samples x samples points a pixel."""

    size: int = 64
    samples: int = 4

    kinds: ClassVar[tuple[str, ...]] = ("square", "ellipse", "heart")
    factors: ClassVar[tuple[str, ...]] = ("shape", "scale", "rotation", "x", "y")
    counts: ClassVar[tuple[int, ...]] = (3, 6, 40, 32, 32)

    def __post_init__(self) -> None:
        integer("Shapes: size", self.size, least=4)
        integer("Shapes: samples", self.samples, least=1)

    def __len__(self) -> int:
        return math.prod(self.counts)

    def factors_of(self, index: ArrayLike) -> NDArray[np.int64]:
        """The factors (n, 5) of the pictures numbered `index` (n,)."""
        number = np.asarray(index)
        if number.ndim != 1 or number.dtype.kind not in "iu":
            raise ShapeError(f"index of shape {number.shape}, {number.dtype}: integers (n,)")
        if number.size and not (number.min() >= 0 and number.max() < len(self)):
            raise OutOfRangeError(f"pictures are numbered 0 ... {len(self) - 1}")
        return np.stack(np.unravel_index(number, self.counts), axis=1).astype(np.int64)

    def index_of(self, factors: ArrayLike) -> NDArray[np.int64]:
        """The inverse of `factors_of`."""
        return np.ravel_multi_index(tuple(self._checked(factors).T), self.counts).astype(np.int64)

    def sample(self, n: int, rng: Generator) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """n pictures (n, size, size, 1) drawn with equal chance, and their factors (n, 5)."""
        factors = self.factors_of(rng.integers(len(self), shape=n))
        return self.render(factors), factors

    def render(self, factors: ArrayLike) -> NDArray[np.uint8]:
        """The pictures (n, size, size, 1) of factors (n, 5)."""
        chosen = self._checked(factors)
        side = self.size * self.samples
        # Sample points, in [-1, 1], y downwards.
        ticks = (np.arange(side, dtype=np.float32) + 0.5) * np.float32(2 / side) - 1
        images = np.empty((len(chosen), self.size, self.size, 1), np.uint8)
        rows = max(1, _POINTS // side**2)
        for first in range(0, len(chosen), rows):
            part = chosen[first : first + rows]
            inside = self._inside(part, ticks)  # (rows, side, side)
            blocks = inside.reshape(-1, self.size, self.samples, self.size, self.samples)
            share = blocks.sum((2, 4), dtype=np.int64) * 255 / self.samples**2
            images[first : first + rows, :, :, 0] = np.rint(share)
        return images

    def _inside(self, factors: NDArray[np.int64], ticks: NDArray[np.float32]) -> NDArray[np.bool_]:
        kind, scale, turn, x, y = factors.T[:, :, None, None]  # each (n, 1, 1)
        # The largest shape has radius 0.4 and its centre stays 0.45 from every edge.
        radius = (0.4 * (0.5 + 0.1 * scale)).astype(np.float32)
        angle = turn * (2 * math.pi / self.counts[2])
        cos, sin = (f(angle).astype(np.float32) for f in (np.cos, np.sin))
        across = (ticks[None, None, :] - self._place(x)) / radius
        up = -(ticks[None, :, None] - self._place(y)) / radius
        u = cos * across + sin * up  # the picture turned back
        v = cos * up - sin * across
        inside = np.empty(u.shape, np.bool_)
        for number, test in enumerate((_in_square, _in_ellipse, _in_heart)):
            those = kind[:, 0, 0] == number
            inside[those] = test(u[those], v[those])
        return inside

    def _place(self, k: NDArray[np.int64]) -> NDArray[np.float32]:
        return (-0.55 + 1.1 * k / (self.counts[3] - 1)).astype(np.float32)

    def _checked(self, factors: ArrayLike) -> NDArray[np.int64]:
        array = np.asarray(factors)
        if array.ndim != 2 or array.shape[1] != len(self.counts) or array.dtype.kind not in "iu":
            raise ShapeError(f"factors of shape {array.shape}, {array.dtype}: integers (n, 5)")
        for name, count, values in zip(self.factors, self.counts, array.T, strict=True):
            if values.size and not (values.min() >= 0 and values.max() < count):
                raise OutOfRangeError(f"the factor {name} has the values 0 ... {count - 1}")
        return array.astype(np.int64)


# ---- the shapes, in coordinates u to the right and v up, within the unit circle ------------------


def _in_square(u: Any, v: Any) -> Any:
    return np.maximum(np.abs(u), np.abs(v)) <= math.sqrt(0.5)


def _in_ellipse(u: Any, v: Any) -> Any:
    return u * u + 4 * v * v <= 1


def _in_heart(u: Any, v: Any) -> Any:
    """The sextic (p^2 + q^2 - 1)^3 = p^2 q^3, within the circle of radius 5/4 around (0, 1/4)."""
    p, q = 1.25 * u, 1.25 * v + 0.25
    pp, qq = p * p, q * q
    round_part = pp + qq - 1
    return round_part * round_part * round_part <= pp * qq * q
