"""Beam search: the likeliest text that a search of limited width finds.

Each of k texts is continued by every token, and the k likeliest of all go on; with k at least the
number of texts there are, the search is exhaustive (Graves 2012; Sutskever et al. 2014).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from tinygen.arguments import integer, number
from tinygen.decoding.processors import Processor, processed
from tinygen.decoding.prompts import Value, as_prompts
from tinygen.decoding.protocol import LanguageModel, Session
from tinygen.decoding.rows import Ending, Ends, Row, Step, Stop, log_softmax
from tinygen.decoding.sampler import Floats, Tokens, require_finite
from tinygen.errors import UsageError


class Hypothesis(NamedTuple):
    """A text that may become the result."""

    row: Row
    log_probs: tuple[float, ...]
    """Of each added token, by the model itself."""
    total: float
    """What the search maximises: their sum, as the processors changed them."""

    def score(self, length_penalty: float) -> float:
        return self.total / max(len(self.log_probs), 1) ** length_penalty


def beam_search(
    model: LanguageModel,
    prompts: Value,
    *,
    max_new_tokens: int,
    beams: int = 4,
    length_penalty: float = 0.0,
    processors: Sequence[Processor] = (),
    end: Ends = (),
    stops: Sequence[Stop] = (),
) -> Iterator[Step]:
    """Yields the tokens of the best text found, one `Step` of one row each, as soon as all texts
    that may still win agree on them.

    One prompt: integers (1, T). The search maximises the sum of log p over the added tokens,
    divided by their number to the power of `length_penalty` (0: the likeliest text; 1: the one
    likeliest a token, which is longer). Processors act on the log-probabilities, without making
    them sum to 1 again: under a constraint the result is the likeliest of the texts that meet it.
    A text ends as in `sample`.
    """
    given = as_prompts(prompts, model.vocab_size)
    if len(given.tokens) != 1:
        raise UsageError(
            f"beam search continues one prompt, and this is a batch of {len(given.tokens)}; call "
            "it for each."
        )
    count = integer("max_new_tokens", max_new_tokens, least=0)
    beams = integer("beams", beams, least=1)
    length_penalty = number("length penalty", length_penalty, least=0)
    ending = Ending(end, [*stops, *processors], model.vocab_size)
    search = _Search(Row(given.tokens[0], count), beams, length_penalty, processors, ending)
    return search.steps(model.session(), given.tokens, count)


class _Search:
    """The texts that still grow, and the best of those that are complete."""

    def __init__(
        self,
        start: Row,
        beams: int,
        length_penalty: float,
        processors: Sequence[Processor],
        ending: Ending,
    ) -> None:
        self.beams, self.length_penalty = beams, length_penalty
        self.processors, self.ending = processors, ending
        self.growing = [Hypothesis(start, (), 0.0)]
        self.best: Hypothesis | None = None
        if ending.reached(start):
            self.best, self.growing = self.growing[0], []
        self.falling = all(getattr(p, "never_above_zero", False) for p in processors)
        """Whether no score can be above 0, so that totals only fall."""

    def steps(self, session: Session, fresh: Tokens, count: int) -> Iterator[Step]:
        told = 0
        for left in range(count, 0, -1):
            if not self.growing or self._decided(count):
                break
            parents, tokens = self._grow(session.read(fresh)[:, -1], last=left == 1)
            agreed = self._agreed(told)
            yield from self._told(told, agreed)
            told = agreed
            if len(parents):
                session.select(parents)
                fresh = tokens[:, None]
        if self.best is not None:
            self.growing = []
            yield from self._told(told, len(self.best.log_probs))

    def _grow(self, logits: Floats, last: bool) -> tuple[Tokens, Tokens]:
        """Continue every text; the parents and the last tokens of those that go on."""
        log_probs = log_softmax(logits)  # (k, V)
        require_finite(logits.max(axis=-1))
        contexts = [h.row.context for h in self.growing]
        scores = processed(self.processors, contexts, log_probs, dead_ends=True)
        totals = np.array([h.total for h in self.growing])[:, None] + scores
        going: list[tuple[Hypothesis, int, int]] = []
        for parent, token in _likeliest_first(totals, 2 * self.beams):
            if len(going) == self.beams:
                break
            old = self.growing[parent]
            row = old.row.fork()
            row.append(token)
            known = (*old.log_probs, float(log_probs[parent, token]))
            new = Hypothesis(row, known, float(totals[parent, token]))
            if last or self.ending.reached(row):
                self._complete(new)
                if last:  # the likeliest of all that are left: none that follows is better
                    break
            else:
                going.append((new, parent, token))
        self.growing = [new for new, _, _ in going]
        return np.array([p for _, p, _ in going], int), np.array([t for *_, t in going], int)

    def _complete(self, new: Hypothesis) -> None:
        penalty = self.length_penalty
        if self.best is None or new.score(penalty) > self.best.score(penalty):
            self.best = new

    def _decided(self, count: int) -> bool:
        """Whether no growing text can become better than the best complete one: totals fall, and
        the largest divisor is that of the greatest length."""
        if self.best is None or not self.falling:
            return False
        hope = max(h.total for h in self.growing) / count**self.length_penalty
        return hope <= self.best.score(self.length_penalty)

    def _agreed(self, told: int) -> int:
        """How many tokens all texts that may win have in common, at least `told`."""
        texts = [h.row.context.added for h in self._possible()]
        shortest = min(len(text) for text in texts)
        while told < shortest and len({int(text[told]) for text in texts}) == 1:
            told += 1
        return told

    def _told(self, start: int, stop: int) -> Iterator[Step]:
        first = self._possible()[0]
        for place in range(start, stop):
            known = np.array([first.log_probs[place]])
            yield Step(first.row.context.added[place : place + 1].copy(), partial(np.copy, known))

    def _possible(self) -> list[Hypothesis]:
        return [*self.growing, *([] if self.best is None else [self.best])]


def _likeliest_first(totals: Floats, enough: int) -> Iterator[tuple[int, int]]:
    """(row, column) of the totals above -inf in falling order, of equal ones the first first; only
    `enough` of them are sorted unless more are taken."""
    flat, given = totals.reshape(-1), 0
    for wanted in (min(enough, flat.size), flat.size):
        least = np.partition(flat, flat.size - wanted)[flat.size - wanted]
        places = np.flatnonzero((flat >= least) & (flat > -np.inf))
        order = places[np.argsort(-flat[places], kind="stable")]
        for place in order[given:]:
            yield divmod(int(place), totals.shape[1])
        given = len(order)
