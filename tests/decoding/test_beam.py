"""Beam search: exhaustive when it is wide, greedy when it is narrow, and streaming."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import TableModel, all_texts, log_prob

from tinygen.decoding import NoRepeatNGram, RepetitionPenalty, Sampler, beam_search, sample
from tinygen.errors import UsageError

V = 3


def found(steps):
    steps = list(steps)
    assert all(s.tokens.shape == s.log_probs.shape == (1,) for s in steps)
    return tuple(int(s.tokens[0]) for s in steps), sum(float(s.log_probs[0]) for s in steps)


def complete(length, end):
    """Every text that ends with `end`, or is cut at `length`."""
    kept = set()
    for text in all_texts(V, length):
        kept.add(text[: text.index(end) + 1] if end in text else text)
    return kept


@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([0.0, 0.7, 1.0, 2.0]))
def test_a_search_as_wide_as_there_are_texts_finds_the_best_of_all(seed, length, penalty):
    model, prompt = TableModel(V, seed), (1, 2)
    steps = beam_search(
        model,
        np.array([prompt]),
        max_new_tokens=length,
        beams=V**length,
        length_penalty=penalty,
        end=0,
    )
    text, total = found(steps)
    scores = {t: log_prob(model, prompt, t) / len(t) ** penalty for t in complete(length, 0)}
    assert abs(total - log_prob(model, prompt, text)) < 1e-12
    assert scores[text] >= max(scores.values()) - 1e-12


@given(st.integers(0, 10**6), st.integers(1, 8))
def test_one_beam_is_greedy(seed, length):
    model, prompt = TableModel(V, seed), np.array([[0]])
    greedy = sample(model, prompt, max_new_tokens=length, sampler=Sampler(0), end=1)
    assert found(beam_search(model, prompt, max_new_tokens=length, beams=1, end=1)) == found(greedy)


@given(st.integers(0, 10**6))
def test_under_processors_it_finds_the_likeliest_of_the_texts_that_they_allow(seed):
    """No token twice, the prompt's 1 included; a text that begins 0, 2 has no third token."""
    model, prompt = TableModel(4, seed), (1,)

    def no_third(contexts, logits):
        ends = np.array([tuple(c.added) == (0, 2) for c in contexts])
        return np.where(ends[:, None], -np.inf, logits)

    steps = beam_search(
        model,
        np.array([prompt]),
        max_new_tokens=3,
        beams=4**3,
        processors=[NoRepeatNGram(1), no_third],
    )
    text, total = found(steps)
    allowed = [t for t in all_texts(4, 3) if len({1, *t}) == 4 and t[:2] != (0, 2)]
    scores = {t: log_prob(model, prompt, t) for t in allowed}
    assert abs(total - max(scores.values())) < 1e-12
    assert scores[text] == pytest.approx(total, rel=1e-12)


def test_what_all_beams_agree_on_is_told_before_the_end():
    model = TableModel(V, 3)
    model.table[:] = [8.0, 0.0, 0.0]  # every beam begins with the certain token
    steps = beam_search(model, np.array([[0]]), max_new_tokens=50, beams=2)
    assert next(steps).tokens.tolist() == [0]
    reads = steps.gi_frame.f_locals["session"].reads
    assert len(reads) <= 3
    assert len(list(steps)) == 49


def test_where_scores_rise_a_later_text_may_still_win():
    """Ending at once scores -0.1 and going on -0.5, but then every token adds 5."""
    model = TableModel(V, 0)
    model.table[:] = 0.0

    def rising(contexts, logits):
        first = np.array([-0.1, -0.5, -0.5])
        return np.stack([first if not len(c.added) else np.array([4.0, 5, 5]) for c in contexts])

    steps = beam_search(model, np.array([[0]]), max_new_tokens=3, processors=[rising], end=0)
    assert found(steps)[0] == (1, 1, 1)


@pytest.mark.parametrize("processors", [(), (RepetitionPenalty(0.9), NoRepeatNGram(50))])
def test_where_scores_fall_the_search_ends_with_the_certain_winner(processors):
    model = TableModel(V, 0)
    model.table[:] = [9.0, 0.0, 0.0]
    options = {"max_new_tokens": 10**6, "end": 0, "processors": processors}
    steps = beam_search(model, np.array([[0]]), **options)
    assert found(steps)[0] == (0,)


def test_bad_input_is_explained():
    model = TableModel(V)
    for prompt, options, message in [
        ([[1], [2]], {}, "one prompt"),
        ([[1]], {"beams": 0}, "beams is 0"),
        ([[1]], {"length_penalty": -1.0}, "length penalty"),
    ]:
        with pytest.raises(UsageError, match=message):
            beam_search(model, np.array(prompt), max_new_tokens=2, **options)
