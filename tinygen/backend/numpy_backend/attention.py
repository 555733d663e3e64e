"""Scaled dot-product attention, forward and backward, on strided views: heads are never copied out.

    S = scale Q K^T,  P = softmax(S),  O = P V                     (Vaswani et al. 2017, eq. 1)
    dV = P^T dO,  dS = P (dO V^T - rowsum(dO O)),  dQ = scale dS K,  dK = scale dS^T Q

q is (B, H, T_q, D), k and v are (B, H_kv, T_k, D): each key head serves G = H / H_kv query heads in
order, and their queries are stacked as G T_q rows of one product. Scores are held transposed,
(B, H_kv, T_k, G T_q): sums over keys are then sums of whole vectors.

Two paths give the same numbers to rounding:

plain   up to `plain_limit` positions. Tiles of a few batch elements stay in the cache; the probabilities
        are kept for backward.
tiled   above. For each head, tiles of `TILE_QUERIES` queries against only the keys they can see (half of
        the causal work is never done); log sum exp is kept and the probabilities are made again
        (Dao et al. 2022, arXiv:2205.14135). Extra memory is O(T).

As in softmax.py, exp runs without a shift where the sums show that none was needed. A query that sees
no key gives zeros and gets a zero gradient.
"""

from math import sqrt

import numpy as np

from .array import Array
from .attention_mask import Visibility
from .rows import ones
from .softmax import SAFE_HIGH, SAFE_LOW

PLAIN_LIMIT = 128
"""Most positions (queries or keys) for the plain path."""

PLAIN_TILE = 65536
"""Elements of scores in one tile of the plain path."""

TILE_QUERIES = 128
"""Queries of each head in one tile of the tiled path."""

SAFE_EXPONENT = 60.0
"""Up to this |lse|, P = exp(S) exp(-lse) needs no subtraction: neither factor over- or underflows."""


def attention_forward(
    q: Array,
    k: Array,
    v: Array,
    *,
    causal: bool = False,
    mask: Array | None = None,
    scale: float | None = None,
    window: int | None = None,
    out: Array | None = None,
    plain_limit: int | None = None,
) -> tuple[Array, Array]:
    """(out (B, H, T_q, D_v), residual for backward); `out` may be any view to write into.

    `mask` broadcasts to (B, H, T_q, T_k): boolean with True = attend, or added to the scores. `scale`
    defaults to 1/sqrt(D). The residual holds the probabilities (plain, 4-D) or lse (tiled, 3-D).
    """
    batch, heads, n_queries, width = q.shape
    if out is None:
        out = _empty_heads(batch, heads, n_queries, v.shape[3], q.dtype)
    visible = Visibility.of(q, k, causal=causal, mask=mask, window=window)
    scale = 1.0 / sqrt(max(width, 1)) if scale is None else scale
    limit = PLAIN_LIMIT if plain_limit is None else plain_limit
    forward = _plain_forward if max(n_queries, k.shape[2]) <= limit else _tiled_forward
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        return out, forward(q, k, v, out, visible, scale)


def attention_backward(
    g: Array,
    q: Array,
    k: Array,
    v: Array,
    out: Array,
    residual: Array,
    *,
    causal: bool = False,
    mask: Array | None = None,
    scale: float | None = None,
    window: int | None = None,
    dq: Array | None = None,
    dk: Array | None = None,
    dv: Array | None = None,
) -> tuple[Array, Array, Array]:
    """(dq, dk, dv) for the gradient g of out, written into the views given or into fresh arrays."""
    dq = _empty_heads(*q.shape, q.dtype) if dq is None else dq
    dk = _empty_heads(*k.shape, k.dtype) if dk is None else dk
    dv = _empty_heads(*v.shape, v.dtype) if dv is None else dv
    scale = 1.0 / sqrt(max(q.shape[3], 1)) if scale is None else scale
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        if residual.ndim == 4:
            _plain_backward(g, q, k, v, out, residual, scale, dq, dk, dv)
        else:
            visible = Visibility.of(q, k, causal=causal, mask=mask, window=window)
            _tiled_backward(g, q, k, v, out, residual, visible, scale, dq, dk, dv)
    return dq, dk, dv


# ---- plain: all queries against all keys, a few batch elements at a time ---------------------------


def _plain_forward(
    q: Array, k: Array, v: Array, out: Array, visible: Visibility, scale: float
) -> Array:
    batch, heads, n_queries, width = q.shape
    kv_heads, n_keys = k.shape[1:3]
    group = heads // kv_heads
    rows = group * n_queries
    probs = np.empty((batch, kv_heads, n_keys, rows), q.dtype)
    step = max(1, PLAIN_TILE // max(1, kv_heads * n_keys * rows))
    everything = slice(0, n_queries), slice(0, n_keys)
    for start in range(0, batch, step):
        tile = slice(start, start + step)
        scaled = _stacked(_grouped(q[tile], kv_heads) * scale)
        mask = None if visible.mask is None else visible.mask[tile]
        _probabilities(scaled, k[tile], visible, *everything, mask, probs[tile], normalise=True)
        _write(_grouped(out[tile], kv_heads), probs[tile].swapaxes(-1, -2), v[tile])
    return probs


def _plain_backward(
    g: Array,
    q: Array,
    k: Array,
    v: Array,
    out: Array,
    probs: Array,
    scale: float,
    dq: Array,
    dk: Array,
    dv: Array,
) -> None:
    kv_heads, n_keys, rows = probs.shape[1:]
    step = max(1, PLAIN_TILE // max(1, kv_heads * n_keys * rows))
    for start in range(0, len(probs), step):
        tile = slice(start, start + step)
        p = probs[tile]
        queries, grad = _stacked(_grouped(q[tile], kv_heads)), _stacked(_grouped(g[tile], kv_heads))
        delta = np.vecdot(g[tile], out[tile]).reshape(len(p), kv_heads, 1, rows)
        np.matmul(p, grad, out=dv[tile])
        dscores = v[tile] @ grad.swapaxes(-1, -2)
        dscores -= delta
        dscores *= p
        dscores *= scale
        np.matmul(dscores, queries, out=dk[tile])
        _write(_grouped(dq[tile], kv_heads), dscores.swapaxes(-1, -2), k[tile])


# ---- tiled: one head at a time, a block of queries against the keys it can see ---------------------


def _tiled_forward(
    q: Array, k: Array, v: Array, out: Array, visible: Visibility, scale: float
) -> Array:
    batch, heads, n_queries, _ = q.shape
    kv_heads = k.shape[1]
    lse = np.empty((batch, heads, n_queries), q.dtype)
    q5, out5, lse4 = _grouped(q, kv_heads), _grouped(out, kv_heads), _grouped(lse, kv_heads)
    for b, h, queries, keys in _tiles(batch, kv_heads, visible):
        qs = q5[b, h, :, queries] * scale  # (G, rows, D)
        group, rows, width = qs.shape
        p = np.empty((keys.stop - keys.start, group * rows), q.dtype)
        mask = _mask_tile(visible, b, h, group, queries, keys)
        log_sums, inverse = _probabilities(
            qs.reshape(group * rows, width), k[b, h, keys], visible, queries, keys, mask, p
        )
        values = p.T @ v[b, h, keys]
        values *= inverse[:, None]
        out5[b, h, :, queries] = values.reshape(group, rows, -1)
        lse4[b, h, :, queries] = log_sums.reshape(group, rows)
    return lse
