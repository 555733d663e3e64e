"""Generators: known answers, exact positions, independent streams, and the right distributions."""

from __future__ import annotations

import math
import threading
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinygen.errors import DtypeError, InputError, ShapeError, UsageError
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


@pytest.mark.parametrize(("dtype", "bits"), [("float32", 32), ("float64", 64)])
def test_normals_are_the_documented_bits(dtype: str, bits: int) -> None:
    """Radii from all bits of the first half of the (half) words, angles from the rest."""
    words = Generator(3).words(4 if bits == 64 else 2).tolist()
    whole = words if bits == 64 else [h for w in words for h in (w & 0xFFFFFFFF, w >> 32)]
    digits = 53 if bits == 64 else 24
    expected = []
    for w, a in zip(whole[:2], whole[2:], strict=True):
        r = math.sqrt(-2 * math.log((2**bits - w - 0.5) * 2.0**-bits))
        angle = 2 * math.pi * (a >> (bits - digits)) * 2.0**-digits
        expected += [r * math.cos(angle), r * math.sin(angle)]
    found = Generator(3).normal(4, dtype)
    assert np.abs(found - expected).max() <= 16 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normals_have_the_normal_distribution(dtype: str) -> None:
    """Kolmogorov and Smirnov: sup |F_n - F| stays below what it passes once in 10^9 times."""
    n = 200_000
    x = np.sort(Generator(11).normal(n, dtype=dtype).astype("float64"))
    truth = np.vectorize(NormalDist().cdf)(x)
    steps = np.arange(n + 1) / n
    distance = max((steps[1:] - truth).max(), (truth - steps[:-1]).max())
    assert distance <= math.sqrt(math.log(2e9) / (2 * n))  # Massart 1990


class Counting(Generator):
    """A generator whose half words count down from the largest, which is the farthest tail."""

    def words(self, n: int) -> np.ndarray:
        return (2**32 - 1 - np.arange(2 * n, dtype="<u4")).view("<u8")


@pytest.mark.parametrize("t", [4.5, 5.0, 5.77, 6.0, 6.5])
def test_float32_normals_have_whole_tails(t: float) -> None:
    """P(r > t) is exp(-t^2 / 2) to one of its 2^32 steps, not only in the middle."""
    n = int(2**32 * math.exp(-t * t / 2))
    radius = np.hypot(*Counting(0).normal(2 * n + 20).astype("float64").reshape(-1, 2).T)
    assert abs((radius > t).sum() - n) <= 1 + 1e-6 * n
    assert radius.max() == pytest.approx(math.sqrt(2 * 33 * math.log(2)), rel=1e-6)


def test_uniform_range_and_integers() -> None:
    rng = Generator("a string is a seed too")
    x = rng.uniform((1000,), low=-2.0, high=3.0)
    assert -2 <= x.min() < -1.9
    assert 2.9 < x.max() < 3
    assert set(rng.integers(3, shape=1000).tolist()) == {0, 1, 2}
    assert set(rng.integers(-2, 2, shape=(40, 25)).ravel().tolist()) == {-2, -1, 0, 1}
    assert sorted(rng.permutation(100).tolist()) == list(range(100))


RANGES = [
    (0.0, 1e-45),
    (1.0, 1.0 + 1e-7),
    (1e8, 1e8 + 9),
    (-1.0, 1e-9),
    (0.1, 0.7),
    (0.7, 0.1 + 0.7),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("low", "high"), RANGES)
def test_uniforms_stay_below_high_though_rounding_would_reach_it(
    low: float, high: float, dtype: str
) -> None:
    """The largest word there is, and the smallest."""

    class Extreme(Generator):
        def words(self, n: int) -> np.ndarray:
            return np.array([0, 2**64 - 1] * n, np.uint64)[:n]

    drawn = Extreme(0).uniform(8, low, high, dtype).astype("float64")
    assert low <= drawn.min()
    assert drawn.max() < high


def test_a_uniform_range_of_one_number_gives_it() -> None:
    assert Generator(0).uniform(3, 0.1, 0.1).tolist() == [np.float32(0.1)] * 3


def bounds(dtype: str) -> st.SearchStrategy[int]:
    return st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


@given(
    st.sampled_from(["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"]).flatmap(
        lambda dtype: st.tuples(st.just(dtype), bounds(dtype), bounds(dtype))
    )
)
@example(("int64", -(2**63), 2**63 - 1))
@example(("uint64", 0, 2**64 - 1))
@example(("uint64", 2**63 + 5, 2**64 - 1))
@example(("int8", -128, 127))
def test_integers_fill_any_range_that_the_dtype_holds(drawn: tuple[str, int, int]) -> None:
    dtype, *ends = drawn
    low, last = sorted(ends)
    found = Generator(0).integers(low, last + 1, 50, dtype)
    assert found.dtype == dtype
    words = Generator(0).words(50).tolist()
    assert found.tolist() == [low + w % (last + 1 - low) for w in words]


def test_numpys_integers_are_integers() -> None:
    rng = Generator(np.int64(3))
    assert np.array_equal(rng.normal(np.int64(3)), Generator(3).normal(3))
    assert rng.uniform((np.int32(2), 1)).shape == (2, 1)
    assert rng.permutation(np.uint8(4)).shape == (4,)
    assert rng.integers(np.int64(2), np.int64(5), [2]).shape == (2,)
    assert Generator("1").state_dict() == Generator(1).state_dict()


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


def test_what_another_thread_draws_is_not_recorded_and_not_replayed() -> None:
    mine, other = Generator(0), Generator(1)

    def elsewhere() -> None:
        other.uniform(9)

    def drawn_by_a_thread() -> None:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()

    with record_draws() as draws:
        mine.uniform(2)
        drawn_by_a_thread()
    assert list(draws) == [mine]
    before = other.block
    with replay(draws):
        drawn_by_a_thread()
    assert other.block == before + 2


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda rng: Generator(1.5), DtypeError, "seed"),  # type: ignore[arg-type]
        (lambda rng: Generator(True), DtypeError, "seed"),
        (lambda rng: rng.integers(3, 3), UsageError, "empty"),
        (lambda rng: rng.integers(0.5, 3), UsageError, r"low is 0\.5"),
        (lambda rng: rng.integers(0, 3.0), UsageError, r"high is 3\.0"),
        (lambda rng: rng.integers(0, 129, dtype="int8"), UsageError, "-128 to 127"),
        (lambda rng: rng.integers(-1, 3, dtype="uint8"), UsageError, "0 to 255"),
        (lambda rng: rng.integers(0, 2**63 + 1), UsageError, "wider dtype"),
        (lambda rng: rng.integers(0, 2**70), UsageError, "wider dtype"),
        (lambda rng: rng.integers(3, dtype="float32"), DtypeError, "no integer dtype"),
        (lambda rng: rng.integers(3, dtype="abc"), DtypeError, "'abc' is not a dtype"),
        (lambda rng: rng.uniform((2, -1)), ShapeError, "negative"),
        (lambda rng: rng.uniform(3, 2.0, 1.0), UsageError, "low <= high"),
        (lambda rng: rng.uniform(3, math.nan, 1.0), UsageError, "low is nan"),
        (lambda rng: rng.uniform(3, 0.0, math.inf), UsageError, "high inf"),
        (lambda rng: rng.uniform(3, "a", 1.0), UsageError, "low is 'a'"),
        (lambda rng: rng.uniform(3, -3e38, 3e38), UsageError, "beyond float32"),
        (lambda rng: rng.normal(3, dtype="float16"), DtypeError, "float16"),
        (lambda rng: rng.normal(3, dtype="abc"), DtypeError, "'abc' is not a dtype"),
        (lambda rng: rng.normal(3, dtype=None), DtypeError, "None is not a dtype"),
        (lambda rng: rng.normal(1.5), DtypeError, r"this is 1\.5"),
        (lambda rng: rng.normal(None), DtypeError, "this is None"),
        (lambda rng: rng.normal("a"), DtypeError, "this is 'a'"),
        (lambda rng: rng.normal((2.5,)), DtypeError, r"this is \(2\.5,\)"),
        (lambda rng: rng.permutation(-1), UsageError, "n is -1"),
        (lambda rng: rng.permutation(1.5), UsageError, r"n is 1\.5"),
        (lambda rng: rng.permutation(None), UsageError, "n is None"),
        (lambda rng: rng.seek(-1), UsageError, "block is -1"),
        (lambda rng: rng.seek(2**256), UsageError, r"2\^256"),
        (lambda rng: rng.load_state_dict({"key": "zz"}), InputError, "block"),
        (lambda rng: rng.load_state_dict({"key": "00", "block": -1}), InputError, "block"),
        (lambda rng: rng.load_state_dict({"key": "00", "block": 1.5}), InputError, "block"),
        (lambda rng: rng.load_state_dict({"key": "-1", "block": 1}), InputError, "block"),
    ],
)
def test_bad_calls_are_explained_and_change_nothing(call, error, message) -> None:
    rng = Generator(0)
    rng.uniform(3)
    before = rng.state_dict()
    with pytest.raises(error, match=message):
        call(rng)
    assert rng.state_dict() == before
    assert np.array_equal(rng.words(3), Generator(0).words(7)[4:])
