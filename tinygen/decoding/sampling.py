"""The plain way to continue texts: one token after the other, each from the model's distribution.

B batch, T tokens of a prompt, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tinygen.arguments import integer
from tinygen.decoding.processors import Processor, processed
from tinygen.decoding.prompts import Prompts, Value, as_prompts
from tinygen.decoding.protocol import LanguageModel
from tinygen.decoding.rows import NOTHING, Ending, Ends, Row, Step, Stop, log_softmax
from tinygen.decoding.sampler import Floats, Randomness, Sampler, Tokens
from tinygen.errors import ShapeError, UsageError
from tinygen.random import Generator

PLAIN = Sampler()
"""The model's own distribution."""


def sample(
    model: LanguageModel,
    prompts: Value,
    *,
    max_new_tokens: int,
    sampler: Sampler = PLAIN,
    rng: Randomness = None,
    processors: Sequence[Processor] = (),
    end: Ends = (),
    stops: Sequence[Stop] = (),
) -> Iterator[Step]:
    """Yields a `Step` (tokens and their log-probabilities) a position, `max_new_tokens` at most.

    `prompts` are integers (B, T), or a list of arrays (T,) of different lengths; each row goes on
    as it would alone. `rng` is one generator, or a list with one for each row, and not needed at
    temperature 0. A row ends with one of the `end` tokens, which is yielded, or when one of the
    `stops` or processors calls it finished; the batch goes on without it, and ends with its last.
    """
    given, count, ending = checked(
        model, prompts, max_new_tokens, sampler, rng, processors, end, stops
    )
    return _sample(model, given, count, sampler, rng, processors, ending)


def checked(
    model: LanguageModel,
    prompts: Value,
    max_new_tokens: int,
    sampler: Sampler,
    rng: Randomness,
    processors: Sequence[Processor],
    end: Ends,
    stops: Sequence[Stop],
) -> tuple[Prompts, int, Ending]:
    """The prompts, the count and the ending, as the ways to sample need them."""
    given = as_prompts(prompts, model.vocab_size)
    count = integer("max_new_tokens", max_new_tokens, least=0)
    if sampler.temperature and rng is None:
        raise UsageError("generate: give the random generator (rng=...), or temperature=0.")
    if isinstance(rng, Sequence) and len(rng) != len(given.tokens):
        raise ShapeError(
            f"{len(rng)} random generators for {len(given.tokens)} rows; give one, or one for each."
        )
    return given, count, Ending(end, [*stops, *processors], model.vocab_size)


def _sample(
    model: LanguageModel,
    prompts: Prompts,
    max_new_tokens: int,
    sampler: Sampler,
    rng: Randomness,
    processors: Sequence[Processor],
    ending: Ending,
) -> Iterator[Step]:
    session, B = model.session(), len(prompts.tokens)
    rows = [Row(prompt, max_new_tokens) for prompt in prompts.rows]
    live = [i for i in range(B) if not ending.reached(rows[i])]
    fresh, padding = prompts.tokens, prompts.padding
    if len(live) < B:
        fresh, padding = fresh[live], None if padding is None else padding[live]
    for _ in range(max_new_tokens):
        if B and not live:
            return
        logits = session.read(fresh, padding=padding)[:, -1]
        contexts = [rows[i].context for i in live] if processors else []
        chosen = sampler.choose(processed(processors, contexts, logits), streams(rng, live))
        yield step_of(chosen, logits, live, B)
        for i, token in zip(live, chosen, strict=True):
            rows[i].append(token)
        going = [place for place, i in enumerate(live) if not ending.reached(rows[i])]
        if len(going) < len(live):
            session.select(np.array(going, int))
            live, chosen = [live[place] for place in going], chosen[going]
        fresh, padding = chosen[:, None], None


def step_of(tokens: Tokens, logits: Floats, live: Sequence[int], B: int) -> Step:
    """The step of a batch of B in which only the rows `live` still grow: by tokens (n,), chosen
    where the model gave logits (n, V)."""

    def log_probs() -> Floats:
        found = np.zeros(B)
        found[live] = np.take_along_axis(log_softmax(logits), tokens[:, None], axis=1)[:, 0]
        return found

    placed = np.full(B, NOTHING)
    placed[live] = tokens
    return Step(placed, log_probs)


def streams(rng: Randomness, live: Sequence[int]) -> Randomness:
    """The random streams of the live rows."""
    return rng if rng is None or isinstance(rng, Generator) else [rng[i] for i in live]
