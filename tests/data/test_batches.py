"""Every target is the token after its input; every evaluation target comes once."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.data.batches import TokenBatches, sequential_blocks
from tinygen.errors import InputError, ShapeError, UsageError
from tinygen.random import Generator

sizes = st.integers(1, 12)


def tokens_of(n: int, dtype="uint16") -> np.ndarray:
    return np.arange(n).astype(dtype)  # each token is its own position


@given(sizes, sizes, st.integers(0, 30), st.integers(0, 99))
def test_windows_are_contiguous_and_targets_one_step_later(block, batch, extra, seed):
    tokens = tokens_of(block + 1 + extra)
    inputs, targets = next(TokenBatches(tokens, block, batch, Generator(seed)))
    assert inputs.shape == targets.shape == (batch, block)
    assert inputs.dtype == targets.dtype == np.int64
    assert inputs.flags.c_contiguous
    assert targets.flags.c_contiguous
    assert np.array_equal(targets, inputs + 1)
    assert np.array_equal(inputs, inputs[:, :1] + np.arange(block))
    assert inputs.min() >= 0
    assert targets.max() < len(tokens)


def test_every_window_comes_and_none_beyond_the_end():
    inputs, _ = next(TokenBatches(tokens_of(8), 3, 500, Generator(0)))
    assert set(inputs[:, 0]) == {0, 1, 2, 3, 4}


def test_no_window_is_preferred():
    starts = next(TokenBatches(tokens_of(12), 2, 20_000, Generator(0)))[0][:, 0]
    counts = np.bincount(starts, minlength=10)
    # Ten equal cells of expectation 2,000: chi-square with 9 degrees passes 33 once in 10,000.
    assert ((counts - 2000.0) ** 2 / 2000.0).sum() < 33


@given(sizes, sizes, st.integers(0, 5))
def test_a_resumed_iterator_gives_the_same_batches(block, batch, before):
    def make() -> TokenBatches:
        return TokenBatches(tokens_of(40), block, batch, Generator(7))

    uninterrupted = make()
    for _ in range(before):
        next(uninterrupted)
    state = json.loads(json.dumps(uninterrupted.state_dict()))
    resumed = make()
    resumed.load_state_dict(state)
    for (a, b), (c, d), _ in zip(uninterrupted, resumed, range(3), strict=False):
        assert np.array_equal(a, c)
        assert np.array_equal(b, d)


def test_a_batch_is_no_view_of_the_tokens():
    tokens = tokens_of(10, "int64")
    for inputs, targets in (
        next(TokenBatches(tokens, 9, 1, Generator(0))),
        next(sequential_blocks(tokens, 9, 1)),
    ):
        inputs[:] = targets[:] = -1
    assert np.array_equal(tokens, np.arange(10))


@given(st.integers(2, 60), sizes, sizes)
def test_every_target_comes_once_in_order(n, block, batch):
    batches = list(sequential_blocks(tokens_of(n), block, batch))
    targets = np.concatenate([t.reshape(-1) for _, t in batches])
    assert np.array_equal(targets, np.arange(1, n))
    for inputs, targets in batches:
        assert inputs.shape == targets.shape
        assert inputs.shape[0] <= batch
        assert inputs.shape[1] <= block
        assert inputs.dtype == targets.dtype == np.int64
        assert np.array_equal(targets, inputs + 1)
    assert all(inputs.shape[1] == block for inputs, _ in batches[:-1])


def test_a_text_shorter_than_a_window():
    with pytest.raises(InputError, match=r"8 tokens are too few.*\(9 tokens\).*at most 7"):
        TokenBatches(tokens_of(8), 8, 1, Generator(0))
    with pytest.raises(InputError, match="1 tokens hold no target"):
        sequential_blocks(tokens_of(1), 8, 1)


@pytest.mark.parametrize(("block", "batch"), [(0, 1), (1, 0), (-1, 1)])
def test_impossible_sizes(block, batch):
    with pytest.raises(UsageError, match="at least 1"):
        TokenBatches(tokens_of(9), block, batch, Generator(0))
    with pytest.raises(UsageError, match="at least 1"):
        sequential_blocks(tokens_of(9), block, batch)


def test_tokens_of_two_axes():
    with pytest.raises(ShapeError, match=r"\(2, 3\)"):
        TokenBatches(np.zeros((2, 3), int), 1, 1, Generator(0))
