"""Speculative sampling: a small model proposes tokens, the large one reads all of them in one pass
and keeps as many as leave its own distribution exactly as it is.

A proposal x ~ q is kept with probability min(1, p(x) / q(x)); the first that is not is replaced by
a draw from max(p - q, 0) / sum. Where all are kept, one more token is drawn from p, which the pass
has given too (Leviathan et al. 2023, algorithm 1; Chen et al. 2023). p and q are the distributions
that are drawn from, after processors, temperature and filters. B batch, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinygen.arguments import integer
from tinygen.decoding.processors import Processor, processed
from tinygen.decoding.prompts import Prompts, Value
from tinygen.decoding.protocol import LanguageModel
from tinygen.decoding.rows import Ending, Ends, Row, Step, Stop
from tinygen.decoding.sampler import Floats, Randomness, Sampler, Tokens, drawn, uniforms
from tinygen.decoding.sampling import PLAIN, checked, step_of, streams
from tinygen.errors import UsageError


def sample_speculatively(
    model: LanguageModel,
    draft: LanguageModel,
    prompts: Value,
    *,
    max_new_tokens: int,
    proposals: int = 4,
    sampler: Sampler = PLAIN,
    rng: Randomness = None,
    processors: Sequence[Processor] = (),
    end: Ends = (),
    stops: Sequence[Stop] = (),
) -> Iterator[Step]:
    """Yields what `sample(model, ...)` would, with exactly its distribution, in fewer passes.

    `draft` is a smaller model of the same vocabulary; it proposes `proposals` tokens at a time. At
    temperature 0 the tokens are those of `sample`; otherwise other ones for the same `rng`. The
    rows of a batch advance together, as far as all proposals of a position are kept.
    """
    given, count, ending = checked(
        model, prompts, max_new_tokens, sampler, rng, processors, end, stops
    )
    if draft.vocab_size != model.vocab_size:
        raise UsageError(
            f"the draft model has {draft.vocab_size} tokens and the model {model.vocab_size}; "
            "speculative sampling needs two models of one tokenizer."
        )
    proposals = integer("proposals", proposals, least=1)
    speculation = _Speculation(model, draft, given, count, sampler, rng, processors, ending)
    return speculation.steps(proposals)


class _Speculation:
    """Two sessions over the same texts. Between rounds both have read all but the last tokens."""

    def __init__(
        self,
        model: LanguageModel,
        draft: LanguageModel,
        prompts: Prompts,
        count: int,
        sampler: Sampler,
        rng: Randomness,
        processors: Sequence[Processor],
        ending: Ending,
    ) -> None:
        self.model, self.draft = model.session(), draft.session()
        self.sampler, self.rng = sampler, rng
        self.processors, self.ending = processors, ending
        self.rows = [Row(prompt, count) for prompt in prompts.rows]
        self.live = [i for i, row in enumerate(self.rows) if not ending.reached(row)]
        self.left, self.B = count, len(self.rows)
        tokens, padding = prompts.tokens[self.live], prompts.padding
        padding = None if padding is None else padding[self.live]
        self.unread = self.unread_by_draft = tokens
        self.padding = padding

    def steps(self, proposals: int) -> Iterator[Step]:
        while self.left and self.live:
            proposed, q = self._propose(min(proposals, self.left - 1))
            yield from self._verify(proposed, q)

    def _propose(self, most: int) -> tuple[Tokens, list[Floats]]:
        """Up to `most` tokens (n, B) of the draft model and their distributions (B, V) each; no
        more once one of them ends its row. They stand in the rows."""
        proposed, q = [], []
        fresh, padding = self.unread_by_draft, self.padding
        for _ in range(most):
            q.append(self._distribution(self.draft.read(fresh, padding=padding)[:, -1]))
            proposed.append(drawn(q[-1], self._uniforms()))
            self._append(proposed[-1])
            fresh, padding = proposed[-1][:, None], None
            if any(self.ending.reached(self.rows[i]) for i in self.live):
                break
        return np.array(proposed, np.int64).reshape(len(q), len(self.live)), q

    def _verify(self, proposed: Tokens, q: list[Floats]) -> Iterator[Step]:
        n, live = len(proposed), self.live
        unread = np.concatenate([self.unread, proposed.T], axis=1)
        logits = self.model.read(unread, last=n + 1, padding=self.padding)  # (B, n + 1, V)
        self.padding = None
        for i in live:
            self.rows[i].drop(n)
        kept, final = 0, False
        while not final:
            p = self._distribution(logits[:, kept])
            if kept < n:
                tokens, refused = self._kept(proposed[kept], p, q[kept])
                final = bool(refused.any())
            else:
                tokens, final = drawn(p, self._uniforms()), True
            self._append(tokens)
            self.left -= 1
            ended = [place for place, i in enumerate(live) if self.ending.reached(self.rows[i])]
            final = final or bool(ended)
            yield step_of(tokens, logits[:, kept], live, self.B)
            kept += not final
        if not self.left:
            return
        # `tokens` follow what both have read, once the proposals that did not stand are forgotten.
        self.model.rewind(n - kept)
        self.unread = self.unread_by_draft = tokens[:, None]
        if kept < n:
            self.draft.rewind(n - kept - 1)
        else:  # the draft model has not read its own last proposal
            self.unread_by_draft = np.stack([proposed[-1], tokens], axis=1)
        self._select(ended)

    def _kept(self, x: Tokens, p: Floats, q: Floats) -> tuple[Tokens, Any]:
        """x (B,) ~ q, or another token where it is refused, together ~ p; and where that is."""
        at = np.arange(len(x)), x
        refused = self._uniforms() * q[at] >= p[at]
        if refused.any():
            rest = np.maximum(p - q, 0)
            rest[~refused] = p[~refused]  # not used, and no 0 / 0
            x = np.where(refused, drawn(rest, self._uniforms()), x)
        return x, refused

    def _distribution(self, logits: Floats) -> Floats:
        contexts = [self.rows[i].context for i in self.live] if self.processors else []
        return self.sampler.probabilities(processed(self.processors, contexts, logits))

    def _uniforms(self) -> Floats:
        """A number in [0, 1) a row; 0 where every distribution has one token only."""
        n = len(self.live)
        if not self.sampler.temperature:
            return np.zeros(n)
        return uniforms(streams(self.rng, self.live), n)

    def _append(self, tokens: Tokens) -> None:
        for i, token in zip(self.live, tokens, strict=True):
            self.rows[i].append(token)

    def _select(self, ended: list[int]) -> None:
        """Go on without the rows at these places."""
        if not ended:
            return
        going = np.delete(np.arange(len(self.live)), ended)
        self.live = [self.live[place] for place in going]
        self.unread, self.unread_by_draft = self.unread[going], self.unread_by_draft[going]
        self.model.select(going)
        self.draft.select(going)
