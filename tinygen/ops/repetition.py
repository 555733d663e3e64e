"""Copies: of a whole array side by side, and of each element in a row."""

from __future__ import annotations

from itertools import chain
from typing import Any

from tinygen import ops
from tinygen.backend import Array
from tinygen.function import Value
from tinygen.ops.indexing import put, require_array, require_integers
from tinygen.ops.shape import Copy, Shape, axis_from_front, reshape

__all__ = ["repeat", "tile"]


class Tile(Copy):
    """y = copies of x side by side;  dx = sum of g over the copies."""

    def forward(self, x: Array, *, repetitions: Shape) -> Array:
        counts = (repetitions,) if isinstance(repetitions, int) else tuple(repetitions)
        self.shape = x.shape
        missing = x.ndim - len(counts)
        lengths = (1,) * -missing + x.shape
        counts = (1,) * missing + counts
        self.folded = tuple(chain.from_iterable(zip(counts, lengths, strict=True)))
        return self.xp.tile(x, counts)

    def backward(self, g: Value) -> Value:
        copies = reshape(g, self.folded)  # (count, length) for every axis
        return reshape(ops.sum(copies, axis=tuple(range(0, len(self.folded), 2))), self.shape)


class Repeat(Copy):
    """Every element of an axis several times in a row;  dx = sum of g over each run."""

    def forward(self, x: Array, repeats: Array, *, axis: int) -> Array:
        require_integers("repeat", repeats)
        self.axis = axis_from_front("repeat", axis, x.ndim)
        self.shape = x.shape
        self.uniform = isinstance(repeats, int)
        if self.needs and not self.uniform:
            self.save(sources=self.xp.arange(x.shape[self.axis]).repeat(repeats))
        return x.repeat(repeats, self.axis)

    def backward(self, g: Value) -> tuple[Value, None]:
        before, n, after = (
            self.shape[: self.axis],
            self.shape[self.axis],
            self.shape[self.axis + 1 :],
        )
        if not self.uniform:
            return put(g, (slice(None),) * self.axis + (self.saved.sources,), self.shape), None
        run = g.shape[self.axis] // n if n else 0
        return ops.sum(reshape(g, (*before, n, run, *after)), axis=self.axis + 1), None


def tile(x: Value, repetitions: Shape) -> Any:
    """Copies of x side by side: `repetitions` of them along each axis, the last ones if fewer."""
    return Tile.apply(x, repetitions=repetitions)


def repeat(x: Value, repeats: Value, axis: int | None = None) -> Any:
    """Every element of `axis` `repeats` times in a row; of the flattened x if `axis` is None.

    `repeats` is an integer, or an integer array or Tensor with one count per element of the axis.
    """
    require_array("repeat", x)
    if axis is None:
        x, axis = reshape(x, -1), 0
    return Repeat.apply(x, repeats, axis=axis)
