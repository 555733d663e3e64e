"""Which keys a query sees: causal order, window and mask, added to a tile of scores as 0 or -inf.

Queries are aligned with the last keys: query i stands at position i + T_k - T_q. It sees the keys
from `behind` positions before its own to `ahead` positions after it, None meaning all:

    causal             ahead = 0,       behind = None
    window w           ahead = w - 1,   behind = w - 1
    causal, window w   ahead = 0,       behind = w - 1

Scores are held as (..., key, group, query), where the G query heads of one key head are its group.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tinygen.backend.numpy_backend.array import Array


@dataclass(frozen=True)
class Visibility:
    """The band of keys around each query, and the caller's mask in additive form."""

    n_queries: int
    n_keys: int
    behind: int | None
    ahead: int | None
    mask: Array | None  # (B, H_kv, T_k, G, T_q), broadcast without a copy

    @classmethod
    def of(
        cls, q: Array, k: Array, *, causal: bool, mask: Array | None, window: int | None
    ) -> "Visibility":
        """What q (B, H, T_q, D) sees of k (B, H_kv, T_k, D)."""
        batch, heads, n_queries, _ = q.shape
        kv_heads, n_keys = k.shape[1:3]
        reach = None if window is None else window - 1
        if mask is not None:
            full = np.broadcast_to(_additive(mask, q.dtype), (batch, heads, n_keys, n_queries))
            grouped = full.reshape(batch, kv_heads, heads // kv_heads, n_keys, n_queries)
            mask = grouped.transpose(0, 1, 3, 2, 4)
        return cls(n_queries, n_keys, reach, 0 if causal else reach, mask)

    def keys(self, queries: slice) -> slice:
        """The keys that any of these queries can see, apart from the mask."""
        first, last = self._positions(queries)
        low = 0 if self.behind is None else max(0, first - self.behind)
        high = self.n_keys if self.ahead is None else min(self.n_keys, last + self.ahead + 1)
        return slice(low, max(low, high))

    def hide(
        self,
        scores: Array,
        queries: tuple[slice, slice, slice, slice],
        keys: tuple[slice, slice, slice],
    ) -> None:
        """Add -inf to the scores (..., key, group, query) that the band or the mask hides, for a
        tile at `queries` of (B, H_kv, G, T_q) and `keys` of (B, H_kv, T_k)."""
        rows, seen = queries[-1], keys[-1]
        first, last = self._positions(rows)
        n_queries = rows.stop - rows.start
        if self.ahead is not None:
            start = max(seen.start, first + self.ahead + 1)  # every query sees the keys before it
            if start < seen.stop:
                diagonal = first + self.ahead - start
                edge = _hidden_beyond(seen.stop - start, n_queries, diagonal, scores.dtype)
                scores[..., start - seen.start :, :, :] += edge
        if self.behind is not None:
            stop = min(seen.stop, last - self.behind)  # every query sees the keys from here on
            if seen.start < stop:
                diagonal = first - self.behind - seen.start
                edge = _hidden_before(stop - seen.start, n_queries, diagonal, scores.dtype)
                scores[..., : stop - seen.start, :, :] += edge
        if self.mask is not None:
            scores += self.mask[*queries[:2], seen, *queries[2:]]

    def _positions(self, queries: slice) -> tuple[int, int]:
        """Positions of the first and the last of these queries among the keys."""
        offset = self.n_keys - self.n_queries
        return queries.start + offset, queries.stop - 1 + offset


def _additive(mask: Array, dtype: np.dtype[np.generic]) -> Array:
    """Boolean (True = attend) or additive (..., T_q, T_k) -> additive (..., T_k, T_q),
    contiguous."""
    transposed = np.swapaxes(np.atleast_2d(mask), -1, -2)
    if transposed.dtype == np.bool_:
        return _minus_infinity(~transposed, dtype)
    return np.ascontiguousarray(transposed)


@lru_cache(maxsize=64)
def _hidden_beyond(
    n_keys: int, n_queries: int, diagonal: int, dtype: np.dtype[np.generic]
) -> Array:
    """(key, 1, query): -inf where key > query + diagonal."""
    return _minus_infinity(_distance(n_keys, n_queries) > diagonal, dtype)


@lru_cache(maxsize=64)
def _hidden_before(
    n_keys: int, n_queries: int, diagonal: int, dtype: np.dtype[np.generic]
) -> Array:
    """(key, 1, query): -inf where key < query + diagonal."""
    return _minus_infinity(_distance(n_keys, n_queries) < diagonal, dtype)


def _distance(n_keys: int, n_queries: int) -> Array:
    """(key, 1, query): key - query."""
    return np.arange(n_keys)[:, None, None] - np.arange(n_queries)


def _minus_infinity(hidden: Array, dtype: np.dtype[np.generic]) -> Array:
    """-inf where hidden, else 0; contiguous, and read-only since it may be kept."""
    additive = np.zeros(hidden.shape, dtype)
    additive[hidden] = -np.inf
    additive.flags.writeable = False
    return additive
