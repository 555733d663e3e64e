"""Attention for long sequences: blocks of queries against the keys that they can see.

For each head, `BLOCK` queries at a time meet the visible range of keys only, so the hidden half of
causal attention is never computed and no (T, T) array exists. The forward pass keeps the
log-sum-exp of each row; the backward pass computes the probabilities again from it
(Dao et al. 2022, "FlashAttention", algorithms 1 and 4).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinygen.backend.numpy_backend.array import Array

BLOCK = 128


def forward(
    q: Array,
    k: Array,
    v: Array,
    out: Array,
    causal: bool,
    mask: Array | None,
    scale: float,
    window: int | None,
) -> Array:
    """Fills `out` (B, H, T_q, D); returns the log-sum-exp (B, H, T_q), +inf where no key is seen."""
    B, H, Tq, D = q.shape
    G = H // k.shape[1]
    lse = np.empty((B, H, Tq), q.dtype)
    tiles = list(_tiles(q.dtype, Tq, k.shape[2], causal, window))
    for b, h in np.ndindex(B, H):
        for rows, keys, bias in tiles:
            s = _scores(q[b, h, rows], k[b, h // G, keys], scale, bias, mask, (b, h, rows, keys))
            if s.shape[1] == 0:
                out[b, h, rows] = 0
                lse[b, h, rows] = np.inf
                continue
            largest = s.max(axis=1)
            nothing = largest == -np.inf
            largest[nothing] = 0
            s -= largest[:, None]
            np.exp(s, out=s)
            z = s @ np.ones(s.shape[1], s.dtype)
            z[nothing] = 1
            tile = out[b, h, rows]
            np.matmul(s, v[b, h // G, keys], out=tile)
            tile *= np.reciprocal(z)[:, None]
            np.log(z, out=z)
            z += largest
            z[nothing] = np.inf
            lse[b, h, rows] = z
    return lse


def backward(
    g: Array,
    q: Array,
    k: Array,
    v: Array,
    out: Array,
    lse: Array,
    dq: Array,
    dk: Array,
    dv: Array,
    causal: bool,
    mask: Array | None,
    scale: float,
    window: int | None,
) -> None:
    """Fills dq (B, H, T_q, D), dk and dv (B, H_kv, T_k, D)."""
    B, H, Tq, _ = q.shape
    G = H // k.shape[1]
    dk[...] = 0
    dv[...] = 0
    tiles = list(_tiles(q.dtype, Tq, k.shape[2], causal, window))
    for b, h in np.ndindex(B, H):
        dot = np.einsum("td,td->t", g[b, h], out[b, h])
        for rows, keys, bias in tiles:
            queries, own_keys, weights = q[b, h, rows], k[b, h // G, keys], g[b, h, rows]
            p = _scores(queries, own_keys, scale, bias, mask, (b, h, rows, keys))
            p -= lse[b, h, rows, None]
            np.exp(p, out=p)
            dv[b, h // G, keys] += p.T @ weights
            ds = weights @ v[b, h // G, keys].T
            ds -= dot[rows, None]
            ds *= p
            ds *= scale
            np.matmul(ds, own_keys, out=dq[b, h, rows])
            dk[b, h // G, keys] += ds.T @ queries


def _scores(
    queries: Array,
    keys: Array,
    scale: float,
    bias: tuple[slice, Array] | None,
    mask: Array | None,
    where: tuple[int, int, slice, slice],
) -> Array:
    """One tile of scores (R, n), -inf where the query does not look."""
    s = queries @ keys.T
    s *= scale
    if bias is not None:
        columns, values = bias
        s[:, columns] += values
    if mask is not None:
        b, h, rows, columns = where
        full = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
        tile = full[b if full.shape[0] > 1 else 0, h if full.shape[1] > 1 else 0]
        tile = tile[rows] if tile.shape[0] > 1 else tile
        tile = tile[:, columns] if tile.shape[1] > 1 else tile
        if tile.dtype == bool:
            np.copyto(s, -np.inf, where=~tile)
        else:
            s += tile
    return s


def _tiles(
    dtype: np.dtype, Tq: int, Tk: int, causal: bool, window: int | None
) -> Iterator[tuple[slice, slice, tuple[slice, Array] | None]]:
    """(queries, visible keys, (columns, bias) where some of those are hidden from some queries).

    Query i stands at position p = i + T_k - T_q and sees keys above p - window, and up to p if
    causal or below p + window if not.
    """
    for start in range(0, Tq, BLOCK):
        stop = min(start + BLOCK, Tq)
        p = np.arange(start, stop) + (Tk - Tq)
        first, last = int(p[0]), int(p[-1])
        end = last + 1 if causal else Tk if window is None else last + window
        begin = 0 if window is None else first - window + 1
        begin, end = min(max(begin, 0), Tk), min(max(end, 0), Tk)
        end = max(begin, end)
        bias = None
        if causal or window is not None:
            # Without a window every query sees all keys up to the first one's position.
            shared = min(max(first - begin, 0), end - begin) if window is None else 0
            distance = p[:, None] - np.arange(begin + shared, end)
            hidden = distance < 0 if causal else np.zeros(distance.shape, bool)
            if window is not None:
                hidden |= np.abs(distance) >= window
            values = np.zeros(distance.shape, dtype)
            values[hidden] = -np.inf
            bias = (slice(shared, end - begin), values)
        yield slice(start, stop), slice(begin, end), bias
