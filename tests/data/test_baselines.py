"""The counting baselines against their definitions, written out in plain Python."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.data.baselines import bigram_nats, unigram_nats
from tinygen.errors import InputError, OutOfRangeError, ShapeError, UsageError


@st.composite
def problems(draw):
    vocab = draw(st.integers(1, 7))
    ids = st.lists(st.integers(0, vocab - 1), min_size=2, max_size=40)
    alpha = draw(st.sampled_from([0.01, 0.5, 1.0, 3.0]))
    return np.array(draw(ids), np.uint8), np.array(draw(ids), np.uint8), vocab, alpha


@given(problems())
def test_bigrams_by_definition(problem):
    train, val, vocab, alpha = problem
    pairs = list(zip(train.tolist(), train[1:].tolist(), strict=False))
    contexts = train[:-1].tolist()
    losses = [
        -math.log((pairs.count((a, b)) + alpha) / (contexts.count(a) + alpha * vocab))
        for a, b in zip(val.tolist(), val[1:].tolist(), strict=False)
    ]
    assert bigram_nats(train, val, vocab, alpha) == pytest.approx(np.mean(losses), rel=1e-12)


@given(problems())
def test_unigrams_by_definition(problem):
    train, val, vocab, alpha = problem
    counts = train.tolist()
    losses = [
        -math.log((counts.count(b) + alpha) / (len(train) + alpha * vocab)) for b in val.tolist()
    ]
    assert unigram_nats(train, val, vocab, alpha) == pytest.approx(np.mean(losses), rel=1e-12)


def test_without_evidence_both_are_uniform():
    train, val = np.array([0, 0]), np.array([5, 6, 7])
    assert bigram_nats(train, val, 10) == pytest.approx(math.log(10), rel=1e-12)


def test_a_large_vocabulary_takes_no_square_of_it():
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 50_000, 20_000).astype(np.uint16)  # a table would be 20 GB
    assert 0 < bigram_nats(tokens, tokens, 50_000) < math.log(50_000)


@pytest.mark.parametrize("baseline", [unigram_nats, bigram_nats])
def test_bad_calls(baseline):
    good = np.array([0, 1])
    with pytest.raises(UsageError, match="alpha 0"):
        baseline(good, good, 2, alpha=0.0)
    with pytest.raises(InputError, match="1 validation tokens"):
        baseline(good, good[:1], 2)
    with pytest.raises(OutOfRangeError, match=r"training tokens run from 0 to 1.*0 \.\.\. 0"):
        baseline(good, good, 1)
    with pytest.raises(ShapeError, match=r"\(1, 2\)"):
        baseline(good[None], good, 2)


def test_the_baselines_of_tinyshakespeare(real_data):
    text = np.frombuffer(real_data("tinyshakespeare.txt").read_bytes(), np.uint8)
    characters, tokens = np.unique(text, return_inverse=True)
    cut = int(0.9 * len(tokens))
    losses = [
        baseline(tokens[:cut], tokens[cut:], len(characters))
        for baseline in (unigram_nats, bigram_nats)
    ]
    assert losses == pytest.approx([3.3473, 2.4819], abs=1e-4)
