"""Random numbers as an argument: a `Generator` is made from a seed and passed as `rng`.

The source is Philox 4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"):
block n of four 64-bit words is a pure function of (key, n), so a GPU can compute any element of
any draw by itself, and a position in the stream is one integer. Every draw starts at a fresh
block. From the words:

- uniform float64: the upper 53 bits of a word, times 2^-53; in [0, 1);
- uniform float32: the upper 24 bits of each half word (low half first), times 2^-24;
- normal: pairs by Box-Muller, r cos(2 pi u), r sin(2 pi u), with u uniform as above and
  r = sqrt(-2 log(1 - (w + 1/2) 2^-b)) from all b bits of w, a word for float64 (b = 64) and a half
  word for float32 (b = 32): the tails end at 9.49 and 6.76, beyond which lie 2e-21 and 1e-11;
- integers: word mod range, whose bias is below range / 2^64.

There is no global generator.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

from tinygen.arguments import dtype_named, float_dtype, index, integer, is_finite
from tinygen.backend import Array, Backend, backend_named
from tinygen.errors import DtypeError, InputError, ShapeError, UsageError

Shape: TypeAlias = "int | Sequence[int]"

Draws: TypeAlias = "dict[Generator, int]"
"""The position of each generator before its first draw: what it takes to replay them."""

_WORDS_PER_BLOCK = 4
_BLOCKS = 2**256


class _Recorders(threading.local):
    """The records being made; what one thread draws is no concern of another's."""

    def __init__(self) -> None:
        self.active: list[Draws] = []


_recorders = _Recorders()


class Generator:
    """A stream of random numbers; `seed` is any integer or a string.

    A seed counts by its text: Generator(1) and Generator("1") are the same stream. Arrays come
    back raw (no Tensor, no gradient), on `device`. `spawn(name)` makes an independent stream that
    depends on the seed and the name alone, not on what was drawn before.
    """

    def __init__(self, seed: int | str) -> None:
        try:
            text = seed if isinstance(seed, str) else str(index(seed))
        except TypeError as error:
            raise DtypeError(
                f"a seed is an integer or a string, not {type(seed).__name__}."
            ) from error
        self._start(_hash(f"tinygen seed {text}"))

    def _start(self, key: int, block: int = 0) -> None:
        self._philox = np.random.Philox(key=key, counter=block)  # before all: it may refuse
        self.key = key
        self.block = block

    def __repr__(self) -> str:
        return f"Generator(key={self.key:032x}, block={self.block})"

    def spawn(self, name: str) -> Generator:
        """An independent stream for one purpose: `rng.spawn("dropout")`."""
        child = Generator.__new__(Generator)
        child._start(_hash(f"tinygen spawn {self.key:032x} {name}"))
        return child

    # ---- position

    def state_dict(self) -> dict[str, Any]:
        """JSON-able: the key as a hexadecimal string and the next block."""
        return {"key": f"{self.key:032x}", "block": self.block}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where the generator of `state` stood. Raises InputError, changing nothing,
        where it is no state of a Generator."""
        try:
            self._start(int(state["key"], 16), index(state["block"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"not the state of a Generator: {state!r}; it has a 'key' and a 'block'."
            ) from error

    def seek(self, block: int) -> None:
        """Continue at `block`, which lies in [0, 2^256)."""
        block = integer("seek: block", block, least=0)
        if block >= _BLOCKS:
            raise UsageError(f"seek: block is {block}; a stream ends before block 2^256.")
        self._start(self.key, block)

    def skip(self, n: int) -> int:
        """The next block, after which the stream has moved on by n numbers of 32 bits: for a
        device that draws them by itself."""
        self._note()
        place = self.block
        self.seek(place + -(-n // (2 * _WORDS_PER_BLOCK)))
        return place

    # ---- draws

    def words(self, n: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """The next `n` 64-bit words; the rest of the last block is skipped."""
        n = integer("words: n", n, least=0)
        self._note()
        blocks = -(-n // _WORDS_PER_BLOCK)
        drawn = self._philox.random_raw(blocks * _WORDS_PER_BLOCK)
        self.block += blocks
        return drawn[:n]

    def uniform(
        self,
        shape: Shape = (),
        low: float = 0.0,
        high: float = 1.0,
        dtype: Any = "float32",
        device: str = "cpu",
    ) -> Array:
        """Uniform numbers in [low, high): low + (high - low) u, rounded, and brought back into the
        range where rounding left it. Where high = low, all numbers are that."""
        dims, dtype = _dims(shape), float_dtype("uniform", dtype)
        low, high = _range(low, high, dtype)
        n, backend = math.prod(dims), backend_named(device)
        if _draws(backend, "random_uniform", dtype):
            ends = _within(low, high, dtype)
            place = self.key, self.skip(n)
            return backend.random_uniform(*place, n, low, high - low, *ends).reshape(dims)
        unit = self._unit(self._bits(n, dtype), dtype)
        if (low, high) != (0.0, 1.0):
            unit *= dtype.type(high - low)
            unit += dtype.type(low)
            least, most = _within(low, high, dtype)
            np.clip(unit, least, most, out=unit)
        return _deliver(unit, dims, device)

    def normal(self, shape: Shape = (), dtype: Any = "float32", device: str = "cpu") -> Array:
        """Standard normal numbers."""
        dims, dtype = _dims(shape), float_dtype("normal", dtype)
        n, backend = math.prod(dims), backend_named(device)
        half = -(-n // 2)
        if _draws(backend, "random_normal", dtype):
            return backend.random_normal(self.key, self.skip(2 * half), n).reshape(dims)
        bits = self._bits(2 * half, dtype)
        radius, angle = (~bits[:half]).astype(dtype), self._unit(bits[half:], dtype)
        radius += 0.5  # ~w + 1/2 = 2^b - (w + 1/2), exact where it is small: in the tail
        radius *= 2.0 ** (-8 * bits.itemsize)  # (0, 1]: the logarithm is finite
        np.log(radius, out=radius)
        radius *= -2
        np.sqrt(radius, out=radius)
        angle *= dtype.type(2 * math.pi)
        pairs = np.empty((half, 2), dtype)
        np.multiply(radius, np.cos(angle), out=pairs[:, 0])
        np.multiply(radius, np.sin(angle), out=pairs[:, 1])
        return _deliver(pairs.reshape(-1)[:n], dims, device)

    def integers(
        self,
        low: int,
        high: int | None = None,
        shape: Shape = (),
        dtype: Any = "int64",
        device: str = "cpu",
    ) -> Array:
        """Integers in [low, high), or in [0, low) if `high` is left out; `dtype` holds them all."""
        low, high = (0, low) if high is None else (low, high)
        low, high = integer("integers: low", low), integer("integers: high", high)
        if high <= low:
            raise UsageError(f"integers: the range [{low}, {high}) is empty; give low < high.")
        dims, dtype = _dims(shape), dtype_named("integers", dtype)
        if dtype.kind not in "iu":
            raise DtypeError(f"integers: {dtype} is no integer dtype; use for example 'int64'.")
        limits = np.iinfo(dtype)
        if low < limits.min or high - 1 > limits.max:
            raise UsageError(
                f"integers: {dtype} holds {limits.min} to {limits.max}, which is not all of "
                f"[{low}, {high}); give a wider dtype or a smaller range."
            )
        drawn = self.words(math.prod(dims))
        if high - low < 2**64:
            drawn %= np.uint64(high - low)
        drawn += np.uint64(low % 2**64)  # modulo 2^64, as the cast below
        return _deliver(drawn.astype(dtype), dims, device)

    def permutation(self, n: int, device: str = "cpu") -> Array:
        """The integers 0 ... n-1 in random order."""
        n = integer("permutation: n", n, least=0)
        order = np.argsort(self.words(n), kind="stable")
        return _deliver(order, (n,), device)

    def _note(self) -> None:
        """Where this stream stands, for whoever records it."""
        for recorder in _recorders.active:
            recorder.setdefault(self, self.block)

    def _bits(self, n: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """As many bits for each of n numbers as their dtype has: words, or their halves."""
        if dtype == np.float64:
            return self.words(n)
        return self.words(-(-n // 2)).astype("<u8", copy=False).view("<u4")[:n]

    @staticmethod
    def _unit(bits: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """Uniform in [0, 1), from the upper bits: as many as the dtype has digits."""
        digits = np.finfo(dtype).nmant + 1
        unit = (bits >> bits.dtype.type(8 * bits.itemsize - digits)).astype(dtype)
        unit *= dtype.type(2.0**-digits)
        return unit


def _hash(text: str) -> int:
    from hashlib import blake2b  # OpenSSL comes with it, which few programs need

    return int.from_bytes(blake2b(text.encode(), digest_size=16).digest(), "big")


def _dims(shape: Shape) -> tuple[int, ...]:
    """A shape as a tuple of Python integers."""
    try:
        given = shape if isinstance(shape, Iterable) else (shape,)
        dims = tuple(index(d) for d in given)
    except TypeError as error:
        raise DtypeError(
            f"a shape is an integer or a tuple of integers, and this is {shape!r}."
        ) from error
    if any(d < 0 for d in dims):
        raise ShapeError(f"a shape has no negative sizes, and this is {dims}.")
    return dims


def _range(low: float, high: float, dtype: np.dtype[Any]) -> tuple[float, float]:
    if not (is_finite(low) and is_finite(high) and low <= high):
        raise UsageError(f"uniform: low is {low!r} and high {high!r}; give finite low <= high.")
    low, high = float(low), float(high)
    if not high - low <= float(np.finfo(dtype).max):
        raise UsageError(f"uniform: {high} - {low} is beyond {dtype}; give a smaller range.")
    return low, high


def _within(low: float, high: float, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """The least number of `dtype` from `low` on, and the largest below `high`."""
    least, most = dtype.type(low), dtype.type(high)
    if float(least) < low:
        least = np.nextafter(least, dtype.type(math.inf))
    if float(most) >= high:
        most = np.nextafter(most, dtype.type(-math.inf))
    return least, max(least, most)


def _draws(backend: Backend, primitive: str, dtype: np.dtype[Any]) -> bool:
    """Whether the device draws such numbers by itself."""
    return dtype == np.float32 and backend.partial and backend.offers((primitive,), [], {})


def _deliver(array: Array, dims: tuple[int, ...], device: str) -> Array:
    return backend_named(device).asarray(array.reshape(dims))


# ---- replay, for recomputation -------------------------------------------------------------------


@contextmanager
def record_draws() -> Iterator[Draws]:
    """Notes where each generator stood before its first draw inside, in this thread."""
    draws: Draws = {}
    _recorders.active.append(draws)
    try:
        yield draws
    finally:
        _recorders.active.pop()


@contextmanager
def replay(draws: Draws) -> Iterator[None]:
    """Inside, the generators give the recorded draws again; afterwards they continue as before."""
    positions = {generator: generator.block for generator in draws}
    try:
        for generator, block in draws.items():
            generator.seek(block)
        yield
    finally:
        for generator, block in positions.items():
            generator.seek(block)
