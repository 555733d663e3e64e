"""Lines written by counting: the next character after the last few, as often as it came.

What a model of names or molecules has to beat (Shannon 1948, section 3): it knows which characters
follow each other, and nothing of the whole.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import accumulate

from tinygen.arguments import integer
from tinygen.random import Generator


class NGram:
    """p(c | the `order` characters before) = its count / all counts there; a line begins after
    newlines and ends with one."""

    def __init__(self, lines: Sequence[str], order: int = 3) -> None:
        self.order = integer("NGram: order", order, least=1)
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for line in lines:
            padded = "\n" * self.order + line + "\n"
            for i in range(self.order, len(padded)):
                self.counts[padded[i - self.order : i]][padded[i]] += 1

    def line(self, rng: Generator, longest: int = 200) -> str:
        """A line, cut where it is longer than any should be."""
        text = "\n" * self.order
        while len(text) < self.order + longest:
            counts = self.counts[text[-self.order :]]
            drawn = int(rng.integers(0, counts.total(), ()))
            places = list(accumulate(counts.values()))
            character = list(counts)[bisect_right(places, drawn)]
            if character == "\n":
                break
            text += character
        return text[self.order :]
