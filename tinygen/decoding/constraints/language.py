"""Regular languages of characters, as trees: what regular expressions and schemas are read into.

A set of characters is sorted ranges (first, last) of code points that neither overlap nor touch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

Ranges: TypeAlias = tuple[tuple[int, int], ...]

LAST = 0x10FFFF
SURROGATES = (0xD800, 0xDFFF)
"""Code points that are no characters, and have no UTF-8."""


@dataclass(frozen=True)
class Characters:
    """One character of a set."""

    ranges: Ranges


@dataclass(frozen=True)
class Chain:
    """One part after the other; without parts, the empty text."""

    parts: tuple[Language, ...]


@dataclass(frozen=True)
class Choice:
    """One of the options; without options, nothing at all."""

    options: tuple[Language, ...]


@dataclass(frozen=True)
class Repeat:
    """A part `least` to `most` times, or any number of times from `least` on."""

    part: Language
    least: int = 0
    most: int | None = None


Language: TypeAlias = Characters | Chain | Choice | Repeat


def characters(ranges: Iterable[tuple[int, int]]) -> Characters:
    """The characters in any of the ranges, which may overlap."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], last)
        elif first <= last:
            merged.append((first, last))
    return Characters(tuple(merged))


def others(these: Characters) -> Characters:
    """The characters that are not among these."""
    found, start = [], 0
    for first, last in characters([*these.ranges, SURROGATES]).ranges:
        found.append((start, first - 1))
        start = last + 1
    return characters([*found, (start, LAST)])


ANY = others(Characters(()))
"""Every character."""


def literal(text: str) -> Chain:
    """This text."""
    return Chain(tuple(Characters(((ord(c), ord(c)),)) for c in text))


def optional(part: Language) -> Repeat:
    return Repeat(part, 0, 1)
