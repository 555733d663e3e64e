"""Gaps that a model fills: how many it fills as they were, and how near it comes.

exact             of all gaps, those filled with the very text
edit similarity   1 - the distance of Levenshtein (1966) / the longer length, the mean of all

Fried et al. (2022, arXiv:2204.05999) and Gong et al. (2024, arXiv:2403.04814, SAFIM) take a line or
a span out of code in this way. White space around a line is no part of the comparison.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tinygen.errors import InputError
from tinygen.random import Generator


class Gap(NamedTuple):
    """A text in three: the middle is to be found."""

    prefix: bytes
    middle: bytes
    suffix: bytes


def line_gap(piece: bytes, rng: Generator) -> Gap | None:
    """A text without one of its lines that are not blank, drawn with equal chance. Its indentation
    and its newline are left. None where there is no line between two others."""
    lines = piece.split(b"\n")
    inner = [i for i in range(1, len(lines) - 1) if len(lines[i].strip()) > 1]
    if not inner:
        return None
    chosen = inner[int(rng.integers(0, len(inner), ()))]
    line = lines[chosen]
    begin = sum(len(before) + 1 for before in lines[:chosen]) + indentation(line)
    end = begin + len(line) - indentation(line)
    return Gap(piece[:begin], piece[begin:end], piece[end:])


def span_gap(piece: bytes, rng: Generator, longest: int = 40) -> Gap | None:
    """A text without a span of 1 to `longest` characters, its place and length drawn with equal
    chance. None where it is too short, or no UTF-8."""
    try:
        text = piece.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if len(text) < 3 * longest:
        return None
    length = int(rng.integers(1, longest + 1, ()))
    begin = int(rng.integers(longest, len(text) - 2 * longest + 1, ()))
    parts = text[:begin], text[begin : begin + length], text[begin + length :]
    return Gap(*(part.encode() for part in parts))


class FrequentLines:
    """What a line's place alone tells: the most frequent line of the training text after the same
    line, or else at the same indentation."""

    def __init__(self, text: bytes) -> None:
        self.after: dict[bytes, Counter[bytes]] = {}
        self.at: dict[int, Counter[bytes]] = {}
        before = b""
        for line in text.split(b"\n"):
            told = line.strip()
            if told:
                self.after.setdefault(before, Counter())[told] += 1
                self.at.setdefault(indentation(line), Counter())[told] += 1
                before = told

    def fill(self, gap: Gap) -> bytes:
        lines = gap.prefix.split(b"\n")
        before = next((line.strip() for line in lines[-2::-1] if line.strip()), b"")
        counts = self.after.get(before) or self.at.get(len(lines[-1])) or Counter([b""])
        return counts.most_common(1)[0][0]


def judge_fillings(middles: Sequence[bytes], fillings: Iterable[bytes]) -> dict[str, float]:
    """Shares of exact ones, and the mean edit similarity; InputError without any."""
    pairs = [(m.strip(), f.strip()) for m, f in zip(middles, fillings, strict=True)]
    if not pairs:
        raise InputError("there is no gap to judge; give a longer held-out text")
    return {
        "exact": sum(m == f for m, f in pairs) / len(pairs),
        "edit_similarity": sum(edit_similarity(m, f) for m, f in pairs) / len(pairs),
    }


def edit_similarity(first: bytes, second: bytes) -> float:
    """1 for equal texts, 0 for those that have nothing in common."""
    longest = max(len(first), len(second))
    return 1 - edit_distance(first, second) / longest if longest else 1.0


def edit_distance(first: bytes, second: bytes) -> int:
    """The least number of bytes inserted, deleted or replaced (Levenshtein 1966)."""
    row = list(range(len(second) + 1))
    for i, mine in enumerate(first, start=1):
        above, row = row, [i]
        for j, theirs in enumerate(second, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (mine != theirs)))
    return row[-1]


def indentation(line: bytes) -> int:
    """How many bytes of white space a line begins with."""
    return len(line) - len(line.lstrip())
