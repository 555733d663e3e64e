"""kernels/random.cu and dropout.cu: the numbers of tinygen.random, at any place of a stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from on_simulator import BF16, F16, FLOAT, Array, Format, blocks, numbers, out, run, updated
from on_simulator import Output as Out

from tinygen.random import Generator


def state_of(rng: Generator) -> Array:
    """philox_state: the key and the number of the next block, low words first."""
    words = [rng.key >> 64 * i for i in range(2)] + [rng.block >> 64 * i for i in range(4)]
    return np.array([word % 2**64 for word in words], np.uint64)


def generator(seed: int, block: int) -> Generator:
    rng = Generator(seed)
    rng.seek(block)
    return rng


PLACES = st.one_of(st.integers(0, 2**64), st.integers(2**64 - 5, 2**64), st.integers(0, 2**255))


@settings(max_examples=15)
@given(seed=st.integers(0, 9), block=PLACES, n=st.integers(1, 2100))
def test_words_uniforms_and_normals(seed: int, block: int, n: int) -> None:
    size = np.int64(n)

    def drawn(kernel: str, threads: int, dtype: str, *options: np.float32) -> Array:
        grid = blocks(threads, 256)
        args = [Out((n,), dtype), state_of(generator(seed, block)), size, *options]
        return run("random.cu", kernel, grid, 256, args)[0]

    words = drawn("random_words", blocks(n, 4), "uint64")
    assert (words == generator(seed, block).words(n)).all()

    for low, high in ((0.0, 1.0), (-0.7, 2.3)):
        below = np.nextafter(np.float32(high), np.float32(-9))
        span = [np.float32(low), np.float32(high - low), np.float32(low), below]
        uniforms = drawn("random_uniform", blocks(n, 8), "float32", *span)
        wanted = generator(seed, block).uniform((n,), low, high)
        if low:
            assert uniforms.min() >= low
        assert (uniforms == wanted).all()
        assert (drawn("random_uniform_naive", n, "float32", *span) == wanted).all()

    normals = drawn("random_normal", blocks(n, 16), "float32")
    wanted = generator(seed, block).normal((n,))
    assert np.abs(normals - wanted).max() < 4e-6
    naive = drawn("random_normal_naive", n, "float32")
    assert naive.tobytes() == normals.tobytes()


@given(block=PLACES, n=st.integers(0, 2**63))
@example(block=2**192 - 1, n=1)
def test_a_stream_moves_on(block: int, n: int) -> None:
    args = [updated(state_of(generator(0, block))), np.uint64(n)]
    (state,) = run("random.cu", "random_advance", 1, 1, args)
    assert (state == state_of(generator(0, block + n))).all()


def check_dropout(seed: int, n: int, format: Format, p: float) -> None:
    rng = np.random.default_rng(seed)
    x, state = numbers(rng, format, n), state_of(generator(seed, seed))
    scale = np.float32(1 / (1 - p))
    mask = generator(seed, seed).uniform((n,)) >= p
    for given_mask in (Out((n,), "uint8"), None):
        args = [out(n, format), given_mask, x, state, np.int64(n), np.float32(p), scale]
        wanted = format.round(np.where(mask, format.decode(x) * scale, np.float32(0)))
        for kernel, each in (("dropout", 8), ("dropout_naive", 1)):
            grid = blocks(n, 256 * each)
            y, *masks = run("dropout.cu", kernel, grid, 256, args, TYPE=format.name)
            assert all((m == mask).all() for m in masks)
            assert (format.decode(y) == wanted).all()


@settings(max_examples=6)
@given(
    seed=st.integers(0, 2**32), n=st.integers(1, 4200),
    format=st.sampled_from([FLOAT, BF16]), p=st.sampled_from([0.0, 0.1, 0.5]),
)  # fmt: skip
def test_dropout(seed: int, n: int, format: Format, p: float) -> None:
    check_dropout(seed, n, format, p)


@pytest.mark.deep
@pytest.mark.parametrize("format", [FLOAT, BF16, F16], ids=lambda f: f.name)
def test_dropout_at_every_edge(format: Format) -> None:
    for n in (*range(1, 20), 2047, 2048, 2049, 4095, 4097):
        check_dropout(n, n, format, 0.3)
