"""Random numbers as an argument: a `Generator` is made from a seed and passed as `rng`.

The source is Philox 4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"):
block n of four 64-bit words is a pure function of (key, n), so a GPU can compute any element of
any draw by itself, and a position in the stream is one integer. Every draw starts at a fresh
block. From the words:

- uniform float64: the upper 53 bits of a word, times 2^-53; in [0, 1);
- uniform float32: the upper 24 bits of each half word (low half first), times 2^-24;
- normal: pairs of uniforms by Box-Muller, r = sqrt(-2 log(1 - u1)), r cos(2 pi u2), r sin(2 pi u2);
- integers: word mod range, whose bias is below range / 2^64.

There is no global generator.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np

from tinygen.backend import Array, backend_named
from tinygen.errors import DtypeError, InputError, ShapeError

Shape: TypeAlias = "int | Sequence[int]"

Draws: TypeAlias = "dict[Generator, int]"
"""The position of each generator before its first draw: what it takes to replay them."""

_WORDS_PER_BLOCK = 4
_recorders: list[Draws] = []


class Generator:
    """A stream of random numbers; `seed` is any integer or a string.

    Arrays come back raw (no Tensor, no gradient), on `device`. `spawn(name)` makes an independent
    stream that depends on the seed and the name alone, not on what was drawn before.
    """

    def __init__(self, seed: int | str) -> None:
        if isinstance(seed, bool) or not isinstance(seed, (int, str)):
            raise DtypeError(f"a seed is an integer or a string, not {type(seed).__name__}.")
        self._start(_hash(f"tinygen seed {seed}"))

    def _start(self, key: int, block: int = 0) -> None:
        self.key = key
        self.block = block
        self._philox = np.random.Philox(key=key, counter=block)

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
        try:
            self._start(int(state["key"], 16), int(state["block"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"not the state of a Generator: {state!r}; it has a 'key' and a 'block'."
            ) from error

    def seek(self, block: int) -> None:
        """Continue at `block`."""
        self._start(self.key, block)

    # ---- draws

    def words(self, n: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """The next `n` 64-bit words; the rest of the last block is skipped."""
        for recorder in _recorders:
            recorder.setdefault(self, self.block)
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
        """Uniform numbers in [low, high)."""
        unit = self._unit(_size(shape), np.dtype(dtype))
        if (low, high) != (0.0, 1.0):
            unit *= unit.dtype.type(high - low)
            unit += unit.dtype.type(low)
        return _deliver(unit, shape, device)

    def normal(self, shape: Shape = (), dtype: Any = "float32", device: str = "cpu") -> Array:
        """Standard normal numbers."""
        n = _size(shape)
        half = -(-n // 2)
        unit = self._unit(2 * half, np.dtype(dtype))
        radius, angle = unit[:half], unit[half:]
        np.subtract(1, radius, out=radius)  # (0, 1]: the logarithm is finite
        np.log(radius, out=radius)
        radius *= -2
        np.sqrt(radius, out=radius)
        angle *= unit.dtype.type(2 * math.pi)
        pairs = np.empty((half, 2), unit.dtype)
        np.multiply(radius, np.cos(angle), out=pairs[:, 0])
        np.multiply(radius, np.sin(angle), out=pairs[:, 1])
        return _deliver(pairs.reshape(-1)[:n], shape, device)

    def integers(
        self,
        low: int,
        high: int | None = None,
        shape: Shape = (),
        dtype: Any = "int64",
        device: str = "cpu",
    ) -> Array:
        """Integers in [low, high), or in [0, low) if `high` is left out."""
        low, high = (0, low) if high is None else (low, high)
        if high <= low:
            raise ShapeError(f"integers: the range [{low}, {high}) is empty; give low < high.")
        drawn = self.words(_size(shape)) % np.uint64(high - low)
        return _deliver((drawn.astype(np.int64) + low).astype(dtype), shape, device)

    def permutation(self, n: int, device: str = "cpu") -> Array:
        """The integers 0 ... n-1 in random order."""
        order = np.argsort(self.words(n), kind="stable")
        return _deliver(order, (n,), device)

    def _unit(self, n: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        if dtype == np.float64:
            return (self.words(n) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        if dtype != np.float32:
            raise DtypeError(f"random numbers are float32 or float64, not {dtype}; cast them.")
        halves = self.words(-(-n // 2)).astype("<u8", copy=False).view("<u4")[:n]
        unit = (halves >> np.uint32(8)).astype(np.float32)
        unit *= np.float32(2.0**-24)
        return unit


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=16).digest(), "big")


def _size(shape: Shape) -> int:
    dims = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(d < 0 for d in dims):
        raise ShapeError(f"a shape has no negative sizes, and this is {dims}.")
    return math.prod(dims)


def _deliver(array: Array, shape: Shape, device: str) -> Array:
    return backend_named(device).asarray(array.reshape(shape))


# ---- replay, for recomputation -------------------------------------------------------------------


@contextmanager
def record_draws() -> Iterator[Draws]:
    """Notes where each generator stood before its first draw inside."""
    draws: Draws = {}
    _recorders.append(draws)
    try:
        yield draws
    finally:
        _recorders.remove(draws)


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
