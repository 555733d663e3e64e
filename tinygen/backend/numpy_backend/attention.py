"""Scaled dot-product attention, forward and backward, on strided views: heads are never copied out.

    S = scale Q K^T,  P = softmax(S),  O = P V                         (Vaswani et al. 2017, eq. 1)
    dV = P^T dO,  dS = P (dO V^T - rowsum(dO O)),  dQ = scale dS K,  dK = scale dS^T Q

q is (B, H, T_q, D), k and v are (B, H_kv, T_k, D): each key head serves a group of G = H / H_kv query
heads in order, and the group's queries are stacked as the G T_q rows of one product. Scores are held
transposed, (T_k, G T_q): sums over keys are then sums of whole vectors.

Two paths give the same numbers to rounding:

plain   up to `plain_limit` positions: all heads of a few batch elements at once.
tiled   above: for each head, a block of queries meets only the keys it can see (half of the causal
        work is never done).

Both keep log sum exp and make the probabilities again in backward, tile by tile in the cache (Dao et
al. 2022, arXiv:2205.14135): extra memory is O(T), and it costs 1 % of a small GPT's training step.

As in softmax.py, exp runs without a shift where the sums show that none was needed. A query that sees
no key gives zeros and gets a zero gradient.
"""

from collections.abc import Iterator
from math import prod, sqrt

import numpy as np

from tinygen.backend.numpy_backend.array import Array
from tinygen.backend.numpy_backend.attention_mask import Visibility
from tinygen.backend.numpy_backend.rows import ones
from tinygen.backend.numpy_backend.softmax import SAFE_EXPONENT, is_safe

PLAIN_LIMIT = 128
"""Most positions (queries or keys) for the plain path."""

PLAIN_TILE = 32768
"""Elements of scores in one tile of the plain path."""

TILE_QUERIES = 128
"""Queries, over all heads of a group, in one tile of the tiled path."""


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
    defaults to 1/sqrt(D). The residual is lse (B, H, T_q).
    """
    out = _empty(q.shape[:3] + v.shape[3:], q.dtype) if out is None else out
    scale = _default_scale(q) if scale is None else scale
    visible = Visibility.of(q, k, causal=causal, mask=mask, window=window)
    forward = _plain_forward if _is_short(q, k, plain_limit) else _tiled_forward
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
    plain_limit: int | None = None,
) -> tuple[Array, Array, Array]:
    """(dq, dk, dv) for the gradient g of out, written into the views given, else into fresh arrays."""
    dq = _empty(q.shape, q.dtype) if dq is None else dq
    dk = _empty(k.shape, k.dtype) if dk is None else dk
    dv = _empty(v.shape, v.dtype) if dv is None else dv
    scale = _default_scale(q) if scale is None else scale
    visible = Visibility.of(q, k, causal=causal, mask=mask, window=window)
    backward = _plain_backward if _is_short(q, k, plain_limit) else _tiled_backward
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        backward(g, q, k, v, out, residual, visible, scale, dq, dk, dv)
    return dq, dk, dv


def _is_short(q: Array, k: Array, plain_limit: int | None) -> bool:
    return max(q.shape[2], k.shape[2]) <= (PLAIN_LIMIT if plain_limit is None else plain_limit)


# ---- plain: all queries against all keys, a few batch elements at a time -------------------------


def _plain_forward(
    q: Array, k: Array, v: Array, out: Array, visible: Visibility, scale: float
) -> Array:
    batch, heads, n_queries, _ = q.shape
    lse = np.empty(q.shape[:3], q.dtype)
    kv_heads = k.shape[1]
    queries, keys = slice(0, q.shape[2]), slice(0, k.shape[2])
    for tile, p in _batch_tiles(q, k):
        scaled = _stacked(_grouped(q[tile], kv_heads) * scale)
        mask = None if visible.mask is None else visible.mask[tile]
        sums, shift = _exp_scores(scaled, k[tile], visible, queries, keys, mask, out=p)
        _matmul_heads(p.swapaxes(-1, -2), v[tile], out=_grouped(out[tile], kv_heads))
        out[tile] *= _inverse(sums).reshape(*lse[tile].shape, 1)
        lse[tile] = _log_sum_exp(sums, shift).reshape(lse[tile].shape)
    return lse


def _plain_backward(
    g: Array,
    q: Array,
    k: Array,
    v: Array,
    out: Array,
    lse: Array,
    visible: Visibility,
    scale: float,
    dq: Array,
    dk: Array,
    dv: Array,
) -> None:
    kv_heads = k.shape[1]
    unshifted = bool((np.absolute(lse) <= SAFE_EXPONENT).all())
    queries, keys = slice(0, q.shape[2]), slice(0, k.shape[2])
    for tile, p in _batch_tiles(q, k):
        scaled = _stacked(_grouped(q[tile], kv_heads) * scale)
        grad = _stacked(_grouped(g[tile], kv_heads))
        mask = None if visible.mask is None else visible.mask[tile]
        _scores(scaled, k[tile], visible, queries, keys, mask, out=p)
        rows = p.shape[:2] + p.shape[3:]  # (B, H_kv, G T_q)
        log_sums = lse[tile].reshape(rows)
        delta = np.vecdot(g[tile], out[tile]).reshape(rows)
        grad, delta = _to_probabilities(p, log_sums, grad, delta, unshifted)
        np.matmul(p, grad, out=dv[tile])
        dscores = v[tile] @ grad.swapaxes(-1, -2)
        dscores -= delta[..., None, :]
        dscores *= p
        np.matmul(dscores, scaled, out=dk[tile])
        _matmul_heads(dscores.swapaxes(-1, -2), k[tile], out=_grouped(dq[tile], kv_heads))
        dq[tile] *= scale


def _batch_tiles(q: Array, k: Array) -> Iterator[tuple[slice, Array]]:
    """Slices of the batch, each with the scratch (..., T_k, G T_q) for its scores."""
    batch, heads, n_queries = q.shape[:3]
    kv_heads, n_keys = k.shape[1:3]
    shape = kv_heads, n_keys, heads // max(1, kv_heads) * n_queries
    step = max(1, PLAIN_TILE // max(1, prod(shape)))
    scratch = np.empty((min(step, batch), *shape), q.dtype)
    for start in range(0, batch, step):
        tile = slice(start, min(start + step, batch))
        yield tile, scratch[: tile.stop - start]


# ---- tiled: one key head at a time, a block of queries against the keys that it can see ----------


def _tiled_forward(
    q: Array, k: Array, v: Array, out: Array, visible: Visibility, scale: float
) -> Array:
    lse = np.empty(q.shape[:3], q.dtype)
    kv_heads = k.shape[1]
    q5, out5, lse4 = (_grouped(a, kv_heads) for a in (q, out, lse))
    scratch = np.empty(_tile_size(q5, k), q.dtype)
    for b, h in np.ndindex(k.shape[:2]):
        for queries, keys in _query_tiles(q5, visible):
            scaled = _stacked(q5[b, h, :, queries] * scale)
            mask = None if visible.mask is None else visible.mask[b, h, keys, :, queries]
            p = _matrix(scratch, keys, scaled)
            sums, shift = _exp_scores(scaled, k[b, h, keys], visible, queries, keys, mask, out=p)
            values = p.T @ v[b, h, keys]
            values *= _inverse(sums)[:, None]
            target = out5[b, h, :, queries]
            target[...] = values.reshape(target.shape)
            lse4[b, h, :, queries] = _log_sum_exp(sums, shift).reshape(target.shape[:2])
    return lse


def _tiled_backward(
    g: Array,
    q: Array,
    k: Array,
    v: Array,
    out: Array,
    lse: Array,
    visible: Visibility,
    scale: float,
    dq: Array,
    dk: Array,
    dv: Array,
) -> None:
    kv_heads = k.shape[1]
    q5, g5, dq5, lse4 = (_grouped(a, kv_heads) for a in (q, g, dq, lse))
    delta4 = _grouped(np.vecdot(g, out), kv_heads)
    unshifted = bool((np.absolute(lse) <= SAFE_EXPONENT).all())
    scratch = np.empty((2, _tile_size(q5, k)), q.dtype)
    for b, h in np.ndindex(k.shape[:2]):
        dkeys, dvalues = np.zeros(k.shape[2:], k.dtype), np.zeros(v.shape[2:], v.dtype)
        for queries, keys in _query_tiles(q5, visible):
            scaled, grad = _stacked(q5[b, h, :, queries] * scale), _stacked(g5[b, h, :, queries])
            log_sums, delta = (
                lse4[b, h, :, queries].reshape(-1),
                delta4[b, h, :, queries].reshape(-1),
            )
            mask = None if visible.mask is None else visible.mask[b, h, keys, :, queries]
            p, dscores = _matrix(scratch[0], keys, scaled), _matrix(scratch[1], keys, scaled)
            _scores(scaled, k[b, h, keys], visible, queries, keys, mask, out=p)
            grad, delta = _to_probabilities(p, log_sums, grad, delta, unshifted)
            dvalues[keys] += p @ grad
            np.matmul(v[b, h, keys], grad.T, out=dscores)
            dscores -= delta
            dscores *= p
            dkeys[keys] += dscores @ scaled
            dqueries = dscores.T @ k[b, h, keys]
            dqueries *= scale
            target = dq5[b, h, :, queries]
            target[...] = dqueries.reshape(target.shape)
        dk[b, h], dv[b, h] = dkeys, dvalues


def _query_tiles(q5: Array, visible: Visibility) -> Iterator[tuple[slice, slice]]:
    """Blocks of queries, each with the keys that it can see."""
    group, n_queries = q5.shape[2:4]
    step = max(1, TILE_QUERIES // max(1, group))
    for start in range(0, n_queries, step):
        queries = slice(start, min(start + step, n_queries))
        yield queries, visible.keys(queries)


def _tile_size(q5: Array, k: Array) -> int:
    group, n_queries = q5.shape[2:4]
    return k.shape[2] * group * min(n_queries, max(1, TILE_QUERIES // max(1, group)))


def _matrix(scratch: Array, keys: slice, queries: Array) -> Array:
    """The (keys, queries) matrix at the beginning of a scratch vector."""
    shape = keys.stop - keys.start, len(queries)
    return scratch[: shape[0] * shape[1]].reshape(shape)


# ---- both paths ----------------------------------------------------------------------------------


def _exp_scores(
    scaled: Array,
    k: Array,
    visible: Visibility,
    queries: slice,
    keys: slice,
    mask: Array | None,
    out: Array,
) -> tuple[Array, Array | None]:
    """out (..., T_k, G T_q) = exp(S - shift); its sums over the keys, and the shift, None for 0.

    A query that sees nothing has sum 0.
    """
    _scores(scaled, k, visible, queries, keys, mask, out)
    np.exp(out, out=out)
    sums = ones(out.shape[-2], out.dtype) @ out
    if is_safe(sums).all():
        return sums, None
    _scores(scaled, k, visible, queries, keys, mask, out)
    shift = np.maximum.reduce(out, axis=-2, initial=-np.inf)
    shift[shift == -np.inf] = 0.0
    out -= shift[..., None, :]
    np.exp(out, out=out)
    return ones(out.shape[-2], out.dtype) @ out, shift


def _scores(
    scaled: Array,
    k: Array,
    visible: Visibility,
    queries: slice,
    keys: slice,
    mask: Array | None,
    out: Array,
) -> None:
    """out (..., T_k, G T_q) = K (scale Q)^T, and -inf where a query does not see a key."""
    np.matmul(k, scaled.swapaxes(-1, -2), out=out)
    n_queries = queries.stop - queries.start
    if n_queries == 0:
        return
    group = out.shape[-1] // n_queries
    visible.hide(out.reshape(*out.shape[:-1], group, n_queries), queries, keys, mask)


def _log_sum_exp(sums: Array, shift: Array | None) -> Array:
    """+inf for a query that sees nothing: exp(S - lse) is then 0."""
    log_sums = np.log(sums)
    if shift is not None:
        log_sums += shift
        log_sums[sums == 0] = np.inf
    return log_sums


def _to_probabilities(
    p: Array, log_sums: Array, grad: Array, delta: Array, unshifted: bool
) -> tuple[Array, Array]:
    """Scores p become probabilities in place, or, where no shift is needed, exp(S) alone: the divisor
    exp(lse) then goes to the smaller factors, grad and delta, which are returned."""
    if unshifted:
        weight = np.exp(-log_sums)
        grad, delta = grad * weight[..., None], delta * weight
    else:
        p -= log_sums[..., None, :]
    np.exp(p, out=p)
    return grad, delta


def _inverse(sums: Array) -> Array:
    """1/sums, and 0 for the sum of nothing."""
    inverse = np.reciprocal(sums)
    inverse[sums == 0] = 0.0
    return inverse


def _default_scale(q: Array) -> float:
    return 1.0 / sqrt(max(q.shape[3], 1))


def _empty(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    """An empty (B, H, T, D), laid out (B, T, H, D): merging the heads is then a view."""
    batch, heads, length, width = shape
    return np.empty((batch, length, heads, width), dtype).transpose(0, 2, 1, 3)


def _grouped(a: Array, kv_heads: int) -> Array:
    """(B, H, ...) -> (B, H_kv, G, ...), a view."""
    return a.reshape(a.shape[0], kv_heads, a.shape[1] // max(1, kv_heads), *a.shape[2:])


def _stacked(a: Array) -> Array:
    """(..., G, T, D) -> (..., G T, D): a view for G = 1."""
    return a.reshape(*a.shape[:-3], a.shape[-3] * a.shape[-2], a.shape[-1])


def _matmul_heads(a: Array, b: Array, out: Array) -> None:
    """out (B, H_kv, G, T, D) = a b, whose rows (G T) are stacked."""
    if out.shape[2] == 1:
        np.matmul(a, b, out=out[:, :, 0])
    else:
        out[...] = (a @ b).reshape(out.shape)
