"""Processors and filters against those of Hugging Face transformers, element by element."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen.decoding import LogitBias, NoRepeatNGram, RepetitionPenalty, Sampler
from tinygen.decoding.processors import Context

torch = pytest.importorskip("torch", reason="the oracle needs PyTorch")
transformers = pytest.importorskip("transformers", reason="the oracle needs transformers")


def case(seed, B=3, T=12, V=17):
    rng = tg.random.Generator(seed)
    return rng.integers(0, V, (B, T)), 3 * rng.normal((B, V), "float64")


def theirs(processor, tokens, logits):
    return processor(torch.tensor(tokens), torch.tensor(logits)).numpy()


def ours(processor, tokens, logits):
    return processor([Context(row, 4, 1) for row in tokens], logits)


@given(st.integers(0, 10**6), st.floats(0.3, 3.0))
def test_repetition_penalty(seed, penalty):
    tokens, logits = case(seed)
    expected = theirs(transformers.RepetitionPenaltyLogitsProcessor(penalty), tokens, logits)
    assert np.allclose(ours(RepetitionPenalty(penalty), tokens, logits), expected, rtol=1e-14)


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 12))
def test_no_repeated_n_grams(seed, n, T):
    tokens, logits = case(seed, T=T, V=4)
    expected = theirs(transformers.NoRepeatNGramLogitsProcessor(n), tokens, logits)
    assert np.array_equal(ours(NoRepeatNGram(n), tokens, logits), expected)


@given(st.integers(0, 10**6))
def test_bias(seed):
    tokens, logits = case(seed)
    biases = {3: 1.5, 0: -2.0, 16: -np.inf}
    processor = transformers.SequenceBiasLogitsProcessor([[[t], b] for t, b in biases.items()])
    expected = theirs(processor, tokens, logits)
    # Theirs is float32 for the biases themselves.
    assert np.allclose(ours(LogitBias(biases), tokens, logits), expected, rtol=1e-6)


@given(
    st.integers(0, 10**6),
    st.floats(0.2, 3.0),
    st.none() | st.integers(1, 20),
    st.none() | st.floats(0.05, 0.99),
    st.none() | st.floats(0.01, 0.9),
)
def test_temperature_top_k_top_p_and_min_p(seed, temperature, top_k, top_p, min_p):
    tokens, logits = case(seed)
    filters = [transformers.TemperatureLogitsWarper(temperature)]
    if top_k is not None:
        filters.append(transformers.TopKLogitsWarper(top_k))
    if top_p is not None:
        filters.append(transformers.TopPLogitsWarper(top_p))
    if min_p is not None:
        filters.append(transformers.MinPLogitsWarper(min_p))
    expected = torch.tensor(logits)
    for warper in filters:
        expected = warper(torch.tensor(tokens), expected)
    found = Sampler(temperature, top_k, top_p, min_p).probabilities(logits)
    assert np.allclose(found, torch.softmax(expected, -1).numpy(), rtol=1e-12, atol=0)
