"""The sampler: its distribution, its filters, its corners."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import tinygen as tg
from tinygen.decoding.sampler import Sampler
from tinygen.errors import DivergedError, UsageError

LOGITS = arrays(
    np.float64, st.tuples(st.integers(1, 3), st.integers(1, 9)), elements=st.floats(-20, 20)
)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@given(LOGITS, st.floats(0.1, 10))
def test_without_filters_it_is_the_softmax(logits, temperature):
    probs = Sampler(temperature).probabilities(logits)
    assert np.allclose(probs, softmax(logits / temperature), rtol=1e-12, atol=1e-300)


@given(LOGITS, st.integers(1, 12))
def test_top_k_keeps_exactly_k_the_likeliest(logits, k):
    probs = Sampler(top_k=k).probabilities(logits)
    kept = probs > 0
    assert (kept.sum(-1) == min(k, logits.shape[1])).all()
    for row, keep, p in zip(logits, kept, probs, strict=True):
        assert row[keep].min() >= row[~keep].max(initial=-np.inf)
        assert np.allclose(p[keep], softmax(row[keep]), rtol=1e-12)


@given(LOGITS, st.floats(0.01, 1))
def test_top_p_keeps_the_fewest_likeliest_that_reach_p(logits, top_p):
    full = softmax(logits)
    probs = Sampler(top_p=top_p).probabilities(logits)
    for p, q in zip(full, probs, strict=True):
        kept = np.sort(p[q > 0])
        assert kept.sum() >= top_p - 1e-12
        assert kept[1:].sum() < top_p + 1e-12  # without the least likely it falls short
        assert abs(q.sum() - 1) <= 1e-12
        assert p[q > 0].min() >= p[q == 0].max(initial=0) - 1e-15


@pytest.mark.parametrize("n", [2, 3, 5, 7, 10, 49, 100, 1000])
def test_top_p_does_not_keep_one_more_by_rounding(n):
    """k of n equal tokens reach k / n, though the sum of so many 1 / n may fall short of it."""
    for k in range(1, n + 1):
        probs = Sampler(top_p=k / n).probabilities(np.zeros((1, n)))
        assert (probs > 0).sum() == k


def test_a_top_p_of_one_keeps_every_token():
    probs = Sampler(top_p=1.0).probabilities(np.array([[0.0, -40.0, -80.0]]))
    assert (probs > 0).all()


@given(LOGITS, st.integers(1, 5), st.floats(0.01, 1), st.floats(0.1, 3))
def test_only_tokens_of_the_distribution_are_drawn(logits, k, p, temperature):
    sampler = Sampler(temperature, k, p)
    probs = sampler.probabilities(logits)
    rng = tg.random.Generator(0)
    for _ in range(5):
        chosen = sampler.choose(logits, rng)
        assert chosen.shape == (len(logits),)
        assert (np.take_along_axis(probs, chosen[:, None], axis=1) > 0).all()


def test_frequencies_are_the_probabilities():
    row = np.log([[0.1, 0.2, 0.3, 0.4]])
    n = 20_000
    chosen = Sampler().choose(np.repeat(row, n, axis=0), tg.random.Generator(0))
    expected = np.array([0.1, 0.2, 0.3, 0.4])
    found = np.bincount(chosen, minlength=4) / n
    assert (abs(found - expected) <= 5 * np.sqrt(expected * (1 - expected) / n)).all()


def test_corners():
    logits = np.array([[1.0, 3.0, 3.0], [-math.inf, -5.0, -9.0]])
    assert Sampler(0).choose(logits, None).tolist() == [1, 1]
    assert Sampler(5e-324).probabilities(logits[1:]).tolist() == [[0, 1, 0]]
    assert Sampler(top_p=1e-300).probabilities(logits).tolist() == [[0, 1, 0], [0, 1, 0]]
    assert Sampler(0.0, top_k=2).probabilities(logits).tolist() == [[0, 1, 0], [0, 1, 0]]
    assert Sampler().probabilities(np.array([[1e308, -1e308]])).tolist() == [[1, 0]]
    assert Sampler().probabilities(logits.astype(np.float32)).dtype == np.float64


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_not_finite_are_refused(bad):
    with pytest.raises(DivergedError, match="not finite"):
        Sampler().probabilities(np.array([[0.0, bad]]))
    with pytest.raises(DivergedError, match="not finite"):
        Sampler().probabilities(np.full((1, 2), -math.inf))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": math.inf}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_p": math.nan}, "top_p"),
        ({"temperature": "a"}, "temperature is 'a'"),
        ({"top_k": 2.5}, r"top_k .* is 2\.5"),
        ({"top_k": True}, "top_k .* is True"),
        ({"top_p": "a"}, "top_p is 'a'"),
    ],
)
def test_settings_that_cannot_be_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        Sampler(**options)


def test_numpys_numbers_are_settings():
    sampler = Sampler(np.float32(0.5), top_k=np.int8(2), top_p=np.float16(0.5))
    assert sampler.probabilities(np.array([[0.0, 1.0, 2.0]])).tolist() == [[0, 0, 1]]


def test_drawing_needs_a_generator():
    with pytest.raises(UsageError, match="rng"):
        Sampler().choose(np.zeros((1, 2)), None)
