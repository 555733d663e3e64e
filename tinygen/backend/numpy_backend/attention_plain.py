"""Attention for short sequences: all scores of one batch element at once, probabilities kept.

Scores are stored transposed, (key, query), so that the maximum and the sum over keys run over
whole rows of memory. One batch element at a time, so that they stay in cache. They are kept as
e = exp(score - max) with z = sum e, and the division by z is done on the (T, D) side: with
g' = g / z,  dV = e^T g',  dS = e (g' V^T - rowsum(g' out)).

H query heads are viewed as (H_kv, G): G of them share a key/value head.
"""

from __future__ import annotations

import numpy as np

from tinygen.backend.numpy_backend.array import Array


def forward(
    q: Array,
    k: Array,
    v: Array,
    out: Array,
    causal: bool,
    mask: Array | None,
    scale: float,
    window: int | None,
) -> tuple[Array, Array]:
    """Fills `out` (B, H, T_q, D); returns e (B, H_kv, G, T_k, T_q) and 1/z (B, H_kv, G, T_q)."""
    B, H, Tq, D = q.shape
    Hkv, Tk = k.shape[1:3]
    G = H // Hkv
    e = np.empty((B, Hkv, G, Tk, Tq), q.dtype)
    inverse = np.empty((B, Hkv, G, Tq), q.dtype)
    if Tk == 0:
        out[...] = 0
        return e, inverse
    bias = _bias(q.dtype, Tq, Tk, causal, mask, window)  # (1 or B, 1 or H, T_k, T_q)
    lonely = mask is not None or Tq > Tk  # some query may see no key
    for b in range(B):
        scores = e[b]
        queries = (q[b] * scale).reshape(Hkv, G, Tq, D)
        np.matmul(k[b][:, None], queries.swapaxes(-1, -2), out=scores)
        if bias is not None:
            own = bias[b if bias.shape[0] > 1 else 0]
            scores += own.reshape(Hkv, G, Tk, Tq) if own.shape[0] > 1 else own
        largest = scores.max(axis=-2)
        if lonely:
            largest[largest == -np.inf] = 0
        scores -= largest[..., None, :]
        np.exp(scores, out=scores)
        z = np.add.reduce(scores, axis=-2)
        if lonely:
            z[z == 0] = 1
        np.reciprocal(z, out=inverse[b])
        heads = out[b].reshape(Hkv, G, Tq, D)
        np.matmul(scores.swapaxes(-1, -2), v[b][:, None], out=heads)
        heads *= inverse[b][..., None]
    return e, inverse


def backward(
    g: Array,
    q: Array,
    k: Array,
    v: Array,
    out: Array,
    residual: tuple[Array, Array],
    dq: Array,
    dk: Array,
    dv: Array,
    causal: bool,
    mask: Array | None,
    scale: float,
    window: int | None,
) -> None:
    """Fills dq (B, H, T_q, D), dk and dv (B, H_kv, T_k, D)."""
    e, inverse = residual
    B, Hkv, G, Tk, Tq = e.shape
    D = q.shape[-1]
    ds = np.empty(e.shape[1:], e.dtype)
    for b in range(B):
        weighted = g[b].reshape(Hkv, G, Tq, D) * inverse[b][..., None]
        heads = out[b].reshape(Hkv, G, Tq, D)
        dot = np.einsum("hgtd,hgtd->hgt", weighted, heads)
        np.matmul(v[b][:, None], weighted.swapaxes(-1, -2), out=ds)
        ds -= dot[..., None, :]
        ds *= e[b]
        queries = (q[b] * scale).reshape(Hkv, G, Tq, D)
        if G == 1:
            np.matmul(e[b, :, 0], weighted[:, 0], out=dv[b])
            np.matmul(ds[:, 0], queries[:, 0], out=dk[b])
        else:
            np.add.reduce(np.matmul(e[b], weighted), axis=1, out=dv[b])
            np.add.reduce(np.matmul(ds, queries), axis=1, out=dk[b])
        gradient = dq[b].reshape(Hkv, G, Tq, D)
        np.matmul(ds.swapaxes(-1, -2), k[b][:, None], out=gradient)
        gradient *= scale


def _bias(
    dtype: np.dtype, Tq: int, Tk: int, causal: bool, mask: Array | None, window: int | None
) -> Array | None:
    """0 where a query may look, -inf elsewhere, plus a float mask: (1 or B, 1 or H, T_k, T_q)."""
    if not causal and window is None and mask is None:
        return None
    distance = np.arange(Tk - Tq, Tk) - np.arange(Tk)[:, None]  # (T_k, T_q)
    visible = np.ones((Tk, Tq), bool)
    if causal:
        visible &= distance >= 0
    if window is not None:
        visible &= np.abs(distance) < window
    additive = np.zeros((1, 1, 1, 1), dtype)
    seen = visible[None, None]
    if mask is not None:
        full = mask.reshape((1,) * (4 - mask.ndim) + mask.shape).swapaxes(-1, -2)
        if mask.dtype == bool:
            seen = seen & full
        else:
            additive = full
    return np.where(seen, additive, dtype.type(-np.inf))
