"""kernels/sampling.cu: the token that the CPU's sampler draws from the k largest logits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from on_simulator import BF16, F16, FLOAT, Format, blocks, run
from on_simulator import Output as Out

from tinygen.decoding.sampler import Sampler


def check(seed: int, rows: int, vocabulary: int, k: int, format: Format, steps: float) -> None:
    """`steps` is the distance of neighbouring logits: a large one makes many of them equal."""
    rng = np.random.default_rng(seed)
    scores = np.round(rng.standard_normal((rows, vocabulary)) * 2 / steps) * steps
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    scores[:, rng.integers(0, vocabulary)] = 1
    logits, uniforms = format.encode(scores), rng.random(rows).astype(np.float32)
    probabilities = Sampler(0.7, k).probabilities(format.decode(logits).astype(np.float64))
    reached = np.cumsum(probabilities, -1)
    # Where the uniform number lies in none of the roundings of float32 sums, the token is certain.
    clear = np.abs(reached - uniforms[:, None]).min(-1) > 1e-5
    wanted = (reached <= uniforms[:, None]).sum(-1)
    sizes = [np.int32(vocabulary), np.int32(k), np.float32(0.7)]
    tokens = Out((rows,), "int64")
    args = [tokens, logits, uniforms, *sizes]
    (fast,) = run("sampling.cu", "topk_sample", rows, 1024, args, TYPE=format.name)
    args = [tokens, logits, uniforms, np.int32(rows), *sizes]
    grid = blocks(rows, 32)
    (naive,) = run("sampling.cu", "topk_sample_naive", grid, 32, args, TYPE=format.name)
    for got in (fast, naive):
        assert (got == wanted)[clear].all()
        assert (probabilities[np.arange(rows), got] > 0).all()


@settings(max_examples=3)
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(1, 2),
    vocabulary=st.sampled_from([1, 2, 50, 1023, 1025]),
    k=st.sampled_from([1, 2, 7, 40, 5000]),
    steps=st.sampled_from([1e-3, 0.5]),
)
def test_any_row(seed: int, rows: int, vocabulary: int, k: int, steps: float) -> None:
    check(seed, rows, vocabulary, k, FLOAT, steps)


@pytest.mark.deep
@pytest.mark.parametrize("format", [FLOAT, BF16, F16], ids=lambda f: f.name)
@pytest.mark.parametrize("vocabulary", [1, 3, 255, 257, 1024, 2047, 2049])
def test_every_edge(format: Format, vocabulary: int) -> None:
    for k in (1, 2, 8, vocabulary - 1, vocabulary, vocabulary + 1):
        check(k, 3, vocabulary, max(k, 1), format, 0.25)


def test_the_ends_of_the_uniforms_and_bad_rows() -> None:
    logits = np.zeros((5, 6), np.float32)
    logits[2, 3], logits[3, 0], logits[4] = np.nan, np.inf, -np.inf
    uniforms = np.array([0, 1 - 2.0**-24, 0, 0, 0], np.float32)
    args = [Out((5,), "int64"), logits, uniforms, np.int32(6), np.int32(3), np.float32(1)]
    (tokens,) = run("sampling.cu", "topk_sample", 5, 1024, args, TYPE="float")
    assert tokens.tolist() == [0, 2, -1, -1, -1]
