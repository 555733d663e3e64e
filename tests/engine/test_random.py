"""Generators: known answers, exact positions, independent streams, and the right distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinygen.errors import DtypeError, InputError, ShapeError
from tinygen.random import Generator, record_draws, replay


def philox_block(key: int, counter: int) -> list[int]:
    """Philox 4x64-10 as the paper writes it (Salmon et al. 2011, figure and table 2)."""
    mask = 2**64 - 1
    k0, k1 = key & mask, key >> 64
    x = [(counter >> (64 * i)) & mask for i in range(4)]
    for _ in range(10):
        a, b = 0xD2E7470EE14C6C93 * x[0], 0xCA5A826395121157 * x[2]
        x = [(b >> 64) ^ x[1] ^ k0, b & mask, (a >> 64) ^ x[3] ^ k1, a & mask]
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & mask, (k1 + 0xBB67AE8584CAA73B) & mask
    return x


def test_words_are_philox() -> None:
    """Block n of the stream is Philox of counter n + 1 under the generator's key."""
    rng = Generator(7)
    words = rng.words(8).tolist()
    assert words == philox_block(rng.key, 1) + philox_block(rng.key, 2)


def test_uniforms_are_the_documented_bits() -> None:
    words = Generator(3).words(4).tolist()
    doubles = Generator(3).uniform(4, dtype="float64")
    assert doubles.tolist() == [(w >> 11) * 2.0**-53 for w in words]
    singles = Generator(3).uniform(8)
    halves = [half for w in words for half in (w & 0xFFFFFFFF, w >> 32)]
    assert singles.tolist() == [(h >> 8) * 2.0**-24 for h in halves]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normals_are_normal(dtype: str) -> None:
    """Moments of a million draws within five standard errors."""
    n = 1_000_000
    x = Generator(5).normal(n, dtype=dtype).astype("float64")
    assert np.isfinite(x).all()
    for power, truth, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((x**power).mean() - truth) < 5 * math.sqrt(variance / n)


def test_uniform_range_and_integers() -> None:
    rng = Generator("a string is a seed too")
    x = rng.uniform((1000,), low=-2.0, high=3.0)
    assert -2 <= x.min() < -1.9
    assert 2.9 < x.max() < 3
    assert set(rng.integers(3, shape=1000).tolist()) == {0, 1, 2}
    assert set(rng.integers(-2, 2, shape=(40, 25)).ravel().tolist()) == {-2, -1, 0, 1}
    assert sorted(rng.permutation(100).tolist()) == list(range(100))


def test_the_position_is_the_whole_state() -> None:
    rng = Generator(0)
    rng.normal(13)
    state = rng.state_dict()
    expected = rng.uniform(5)
    other = Generator(99)
    other.load_state_dict(state)
    assert np.array_equal(other.uniform(5), expected)
    assert other.state_dict() == rng.state_dict()


def test_spawned_streams_depend_on_name_and_seed_alone() -> None:
    rng = Generator(0)
    first = rng.spawn("a").uniform(8)
    rng.uniform(100)
    assert np.array_equal(rng.spawn("a").uniform(8), first)
    others = [rng.spawn("b"), Generator(1).spawn("a"), rng.spawn("a").spawn("a"), rng]
    assert all(not np.array_equal(o.uniform(8), first) for o in others)


def test_draws_can_be_replayed() -> None:
    rng = Generator(0)
    rng.uniform(3)
    with record_draws() as draws:
        first = [rng.uniform(2), rng.normal(2)]
    after = rng.block
    with replay(draws):
        again = [rng.uniform(2), rng.normal(2)]
    assert np.array_equal(np.concat(first), np.concat(again))
    assert rng.block == after


def test_bad_calls() -> None:
    rng = Generator(0)
    with pytest.raises(DtypeError, match="seed"):
        Generator(1.5)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="empty"):
        rng.integers(3, 3)
    with pytest.raises(ShapeError, match="negative"):
        rng.uniform((2, -1))
    with pytest.raises(DtypeError, match="float16"):
        rng.normal(3, dtype="float16")
    with pytest.raises(InputError, match="block"):
        rng.load_state_dict({"key": "zz"})
