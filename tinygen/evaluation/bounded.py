"""Lines that were to hold words and be of a length: how many do, and how much they differ.

met           of all lines, those with all their words and of their length (the coverage of
              CommonGen, Lin et al. 2020, arXiv:1911.03705, asked of whole lines)
distinct 1, 2 the different words, and pairs of neighbours, over all there are (Li et al. 2016,
              arXiv:1510.03055)
copied        the lines that stand among the training lines
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import NamedTuple

from tinygen.errors import InputError
from tinygen.random import Generator

WORD = re.compile(r"[A-Za-z0-9_\u0080-\U0010ffff]+")


class Wish(NamedTuple):
    words: tuple[str, ...]
    least: int
    most: int

    def met(self, line: str) -> bool:
        """Whether a line has all words, in either case, and `least` to `most` in all."""
        there = [word.lower() for word in WORD.findall(line)]
        return self.least <= len(there) <= self.most and set(self.words) <= set(there)


def wish_of(line: str, rng: Generator, count: int = 2) -> Wish | None:
    """`count` of the words of four letters or more in a line that was written by someone, and its
    length give or take two; None where it has too few. So the wish can be met with sense."""
    there = [word.lower() for word in WORD.findall(line)]
    long = sorted({word for word in there if len(word) > 3})
    if len(long) < count:
        return None
    chosen = rng.permutation(len(long))[:count]
    words = tuple(long[int(i)] for i in chosen)
    return Wish(words, max(count, len(there) - 2), len(there) + 2)


def judge_bounded(
    wishes: Sequence[Wish], lines: Sequence[str], training: Collection[str]
) -> dict[str, float]:
    """The shares above; InputError without any line."""
    if not lines:
        raise InputError("there is no line to judge; give a longer held-out text")
    words = [WORD.findall(line.lower()) for line in lines]
    pairs = [pair for line in words for pair in pairwise(line)]
    flat = [word for line in words for word in line]
    known = set(training)
    return {
        "met": sum(w.met(line) for w, line in zip(wishes, lines, strict=True)) / len(lines),
        "distinct_1": len(set(flat)) / max(1, len(flat)),
        "distinct_2": len(set(pairs)) / max(1, len(pairs)),
        "copied": sum(line in known for line in lines) / len(lines),
    }
