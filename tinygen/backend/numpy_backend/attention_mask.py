"""Which keys a query sees: causal order, window and mask, as one additive array for a tile of scores.

Queries are aligned with the last keys: query i stands at position i + T_k - T_q. It sees the keys from
`behind` positions before it to `ahead` positions after it:

    causal             ahead = 0,       behind = everything
    window w           ahead = w - 1,   behind = w - 1
    causal, window w   ahead = 0,       behind = w - 1

Scores are held transposed, (key, query), so the arrays here are too: 0 where seen, -inf where not.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .array import Array


@dataclass(frozen=True)
class Visibility:
    """The band of keys around each query, and the caller's mask in additive, transposed form."""

    n_queries: int
    n_keys: int
    behind: int | None  # None: no limit
    ahead: int | None
    dtype: np.dtype[np.generic]
    mask: Array | None  # (B, H, T_k, T_q), broadcast without a copy

    @classmethod
    def of(
        cls,
        q: Array,
        k: Array,
        *,
        causal: bool,
        mask: Array | None,
        window: int | None,
    ) -> "Visibility":
        batch, heads, n_queries, _ = q.shape
        n_keys = k.shape[2]
        reach = None if window is None else window - 1
        if mask is not None:
            shape = (batch, heads, n_keys, n_queries)
            mask = np.broadcast_to(_additive(mask, q.dtype), shape)
        return cls(n_queries, n_keys, reach, 0 if causal else reach, q.dtype, mask)

    def keys(self, queries: slice) -> slice:
        """The keys that any of these queries can see, apart from the mask."""
        first, last = self._position(queries.start), self._position(queries.stop - 1)
        low = 0 if self.behind is None else max(0, first - self.behind)
        high = self.n_keys if self.ahead is None else min(self.n_keys, last + self.ahead + 1)
        return slice(low, max(low, high))

    def hide(self, scores: Array, queries: slice, keys: slice) -> None:
        """Add -inf to the scores (..., key, group, query) of the tile that the band hides."""
        n_queries = queries.stop - queries.start
        first, last = self._position(queries.start), self._position(queries.stop - 1)
        if self.ahead is not None:
            start = max(keys.start, first + self.ahead + 1)  # every query sees the keys before it
            if start < keys.stop:
                edge = _beyond(keys.stop - start, n_queries, first + self.ahead - start, self.dtype)
                scores[..., start - keys.start :, :, :] += edge
        if self.behind is not None:
            stop = min(keys.stop, last - self.behind)  # every query sees the keys from here on
            if keys.start < stop:
                edge = _before(stop - keys.start, n_queries, first - self.behind - keys.start, self.dtype)
                scores[..., : stop - keys.start, :, :] += edge

    def _position(self, query: int) -> int:
        return query + self.n_keys - self.n_queries


def _additive(mask: Array, dtype: np.dtype[np.generic]) -> Array:
    """Boolean (True = attend) or additive (..., T_q, T_k) -> additive (..., T_k, T_q), contiguous."""
    transposed = np.swapaxes(np.atleast_2d(mask), -1, -2)
    if transposed.dtype != np.bool_:
        return np.ascontiguousarray(transposed, dtype=dtype)
    additive = np.zeros(transposed.shape, dtype)
    np.copyto(additive, -np.inf, where=~transposed)
    return additive


@lru_cache(maxsize=64)
def _beyond(n_keys: int, n_queries: int, diagonal: int, dtype: np.dtype[np.generic]) -> Array:
    """(key, 1, query): -inf where key > query + diagonal."""
    return _edge(np.subtract.outer(np.arange(n_keys), np.arange(n_queries)) > diagonal, dtype)


@lru_cache(maxsize=64)
def _before(n_keys: int, n_queries: int, diagonal: int, dtype: np.dtype[np.generic]) -> Array:
    """(key, 1, query): -inf where key < query + diagonal."""
    return _edge(np.subtract.outer(np.arange(n_keys), np.arange(n_queries)) < diagonal, dtype)


def _edge(hidden: Array, dtype: np.dtype[np.generic]) -> Array:
    edge = np.zeros(hidden.shape, dtype)
    edge[hidden] = -np.inf
    edge.flags.writeable = False
    return edge[:, None, :]
