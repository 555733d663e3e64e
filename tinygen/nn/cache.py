"""Keys and values that attention has computed before: what makes generation linear in what was
written.

B batch, H_kv key/value heads, T new positions, D features of a head.
"""

from __future__ import annotations

import copy
from typing import Any

from tinygen.arguments import integer
from tinygen.backend import Array, backend_of
from tinygen.errors import DtypeError, GraphError, ShapeError
from tinygen.function import Value
from tinygen.nn.sizes import require_sizes
from tinygen.tensor import plain

SMALLEST = 256
"""Positions that a cache has memory for at first; it grows by doubling."""

SPARE = 64
"""Positions that a sliding cache keeps beyond its window, so that as many may be taken back."""


class KeyValueCache:
    """The keys and values of the positions that one attention layer has seen, up to `capacity`.

    `append` adds those of new positions, in place, and returns what these may attend to, in order,
    as views (B, H_kv, n, D). That is all of them, or with a `window` w the last w - 1 before the
    new ones and these: then the cache slides, and its memory is that of the window whatever its
    capacity. It is for inference: what is cached has no gradient.
    """

    def __init__(self, capacity: int, window: int | None = None) -> None:
        require_sizes("KeyValueCache", capacity=capacity)
        if window is not None:
            require_sizes("KeyValueCache", window=window)
        self.capacity, self.window = capacity, window
        self.length = 0
        self.start = 0
        """The position in the first place of the memory."""
        self.keys: Array = None  # (B, H_kv, places, D), made when the first keys come
        self.values: Array = None

    def append(self, k: Value, v: Value) -> tuple[Array, Array]:
        """k, v (B, H_kv, T, D): the new positions, which follow those appended before, and are of
        the same batch, heads, D and dtype."""
        if getattr(k, "requires_grad", False) or getattr(v, "requires_grad", False):
            raise GraphError(
                "a key/value cache would lose the gradient of what it keeps: call the model inside "
                "tg.no_grad(), or without a cache."
            )
        k, v = plain(k), plain(v)
        self._check(k, v)
        T = k.shape[2]
        self._make_room(k, T)
        first, last = self.length - self.start, self.length - self.start + T
        self.keys[:, :, first:last] = k
        self.values[:, :, first:last] = v
        self.length += T
        seen = 0 if self.window is None else max(0, last - T - self.window + 1)
        return self.keys[:, :, seen:last], self.values[:, :, seen:last]

    @property
    def removable(self) -> int:
        """How many of the last positions may be taken back."""
        if self.window is None or not self.start:
            return self.length
        return max(0, self.length - self.start - self.window + 1)

    def rewind(self, n: int) -> None:
        """Forget the last n positions. Raises ShapeError where what came before is lost."""
        if not 0 <= integer("rewind: n", n) <= self.removable:
            raise ShapeError(
                f"a cache of {self.length} positions, of which {self.removable} may be taken back, "
                f"cannot forget {n}. Start a new cache."
            )
        self.length -= n

    def select(self, rows: Array) -> None:
        """Go on with these rows (indices, repeated or not) as the batch."""
        if self.keys is not None:
            self.keys, self.values = self.keys[rows], self.values[rows]

    def fork(self) -> KeyValueCache:
        """Another cache that has seen the same."""
        other = copy.copy(self)
        if self.keys is not None:
            other.keys, other.values = self.keys.copy(), self.values.copy()
        return other

    def _make_room(self, k: Array, T: int) -> None:
        """Memory for T more positions: what the window has passed is dropped first."""
        B, heads, _, D = k.shape
        held = self.length - self.start
        places = 0 if self.keys is None else self.keys.shape[2]
        if held + T <= places:
            return
        kept = held if self.window is None else min(held, self.window - 1 + SPARE)
        if self.window is not None and kept + T <= places:
            wanted = places
        elif self.window is not None:  # a quarter more than a window is copied once in so many
            wanted = kept + max(T, SMALLEST, self.window // 4)
        else:
            wanted = min(self.capacity, max(SMALLEST, 2 * places, held + T))
        xp = backend_of([k]).xp
        old = self.keys, self.values
        self.keys, self.values = (xp.empty((B, heads, wanted, D), k.dtype) for _ in range(2))
        if kept:
            self.keys[:, :, :kept] = old[0][:, :, held - kept : held]
            self.values[:, :, :kept] = old[1][:, :, held - kept : held]
        self.start = self.length - kept

    def _check(self, k: Any, v: Any) -> None:
        if k.ndim != 4 or k.shape != v.shape or k.dtype != v.dtype:
            raise ShapeError(
                f"a cache takes keys and values (B, heads, T, D) of one form, and these are "
                f"{k.dtype}{list(k.shape)} and {v.dtype}{list(v.shape)}."
            )
        B, heads, T, D = k.shape
        kept = (B, heads, D) if self.keys is None else (*self.keys.shape[:2], self.keys.shape[3])
        if self.length + T > self.capacity or (B, heads, D) != kept:
            raise ShapeError(
                f"a cache of {self.length} positions, capacity {self.capacity}, batch {kept[0]}, "
                f"{kept[1]} heads of {kept[2]} features cannot take {T} positions of batch {B}, "
                f"{heads} heads of {D} features. Start a new cache."
            )
        if self.keys is not None and k.dtype != self.keys.dtype:
            raise DtypeError(
                f"a cache of {self.keys.dtype} cannot take {k.dtype}. Start a new cache."
            )
