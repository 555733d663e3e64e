"""Questions with yes or no for an answer, element by element.

Results are boolean and outside the graph. Inputs broadcast and either may be a Python number.
"""

from __future__ import annotations

from typing import Any

from tinygen.backend import Array
from tinygen.function import Function, Value

__all__ = [
    "equal",
    "greater",
    "greater_equal",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "not_equal",
]


class Equal(Function):
    """z = [x = y]."""

    def forward(self, x: Array, y: Array) -> Array:
        return self.xp.equal(x, y)


class NotEqual(Function):
    """z = [x != y]."""

    def forward(self, x: Array, y: Array) -> Array:
        return self.xp.not_equal(x, y)


class Less(Function):
    """z = [x < y]."""

    def forward(self, x: Array, y: Array) -> Array:
        return self.xp.less(x, y)


class LessEqual(Function):
    """z = [x <= y]."""

    def forward(self, x: Array, y: Array) -> Array:
        return self.xp.less_equal(x, y)


class Greater(Function):
    """z = [x > y]."""

    def forward(self, x: Array, y: Array) -> Array:
        return self.xp.greater(x, y)


class GreaterEqual(Function):
    """z = [x >= y]."""

    def forward(self, x: Array, y: Array) -> Array:
        return self.xp.greater_equal(x, y)


class LogicalAnd(Function):
    """z = [x and y]."""

    def forward(self, x: Array, y: Array) -> Array:
        return self.xp.logical_and(x, y)


class LogicalOr(Function):
    """z = [x or y]."""

    def forward(self, x: Array, y: Array) -> Array:
        return self.xp.logical_or(x, y)


class LogicalXor(Function):
    """z = [either x or y]."""

    def forward(self, x: Array, y: Array) -> Array:
        return self.xp.logical_xor(x, y)


class LogicalNot(Function):
    """y = [not x]."""

    def forward(self, x: Array) -> Array:
        return self.xp.logical_not(x)


class IsNaN(Function):
    """y = [x is NaN]."""

    def forward(self, x: Array) -> Array:
        return self.xp.isnan(x)


class IsFinite(Function):
    """y = [x is neither NaN nor infinite]."""

    def forward(self, x: Array) -> Array:
        return self.xp.isfinite(x)


class IsInf(Function):
    """y = [x is inf or -inf]."""

    def forward(self, x: Array) -> Array:
        return self.xp.isinf(x)


def equal(x: Value, y: Value) -> Any:
    """x = y; NaN equals nothing."""
    return Equal.apply(x, y)


def not_equal(x: Value, y: Value) -> Any:
    """x != y; true for NaN."""
    return NotEqual.apply(x, y)


def less(x: Value, y: Value) -> Any:
    """x < y; false for NaN."""
    return Less.apply(x, y)


def less_equal(x: Value, y: Value) -> Any:
    """x <= y; false for NaN."""
    return LessEqual.apply(x, y)


def greater(x: Value, y: Value) -> Any:
    """x > y; false for NaN."""
    return Greater.apply(x, y)


def greater_equal(x: Value, y: Value) -> Any:
    """x >= y; false for NaN."""
    return GreaterEqual.apply(x, y)


def logical_and(x: Value, y: Value) -> Any:
    """Both x and y; a number counts as true unless it is 0."""
    return LogicalAnd.apply(x, y)


def logical_or(x: Value, y: Value) -> Any:
    """x, y or both; a number counts as true unless it is 0."""
    return LogicalOr.apply(x, y)


def logical_xor(x: Value, y: Value) -> Any:
    """x or y but not both; a number counts as true unless it is 0."""
    return LogicalXor.apply(x, y)


def logical_not(x: Value) -> Any:
    """Not x; a number counts as true unless it is 0."""
    return LogicalNot.apply(x)


def isnan(x: Value) -> Any:
    """Whether x is not a number."""
    return IsNaN.apply(x)


def isfinite(x: Value) -> Any:
    """Whether x is neither infinite nor NaN."""
    return IsFinite.apply(x)


def isinf(x: Value) -> Any:
    """Whether x is inf or -inf."""
    return IsInf.apply(x)
