"""Scaled dot-product attention, forward and backward, on strided views: heads are never copied out.

    S = scale Q K^T,  P = softmax(S),  O = P V                         (Vaswani et al. 2017, eq. 1)
    dV = P^T dO,  dS = P (dO V^T - rowsum(dO O)),  dQ = scale dS K,  dK = scale dS^T Q

q is (B, H, T_q, D), k and v are (B, H_kv, T_k, D): each key head serves a group of G = H / H_kv
query heads in order, and the group's queries are stacked as the columns of one product. Scores are
held transposed, (T_k, G T_q): what hides keys then covers whole rows of memory.

The work is done in tiles that stay in the cache. Short sequences go several heads and batch
elements at a time, long ones in blocks of queries, each against only the keys that it can see: half
of the causal work is never done. Two numbers a query are kept, and backward makes the probabilities
again (Dao et al. 2022, arXiv:2205.14135): extra memory is O(T), for 1 % of a small GPT's training
step.

As in softmax.py, exp runs without a shift where the sums show that none was needed. A query that
sees no key gives zeros and gets a zero gradient.
"""

from collections.abc import Iterator
from math import sqrt
from typing import NamedTuple

import numpy as np

from tinygen.backend.numpy_backend.aligned import empty
from tinygen.backend.numpy_backend.array import Array
from tinygen.backend.numpy_backend.attention_mask import Visibility
from tinygen.backend.numpy_backend.product import SMALL
from tinygen.backend.numpy_backend.rows import ones
from tinygen.backend.numpy_backend.softmax import is_safe

TILE_QUERIES = 128
"""Most queries, over all heads of a group, in one tile."""

TILE = 1 << 18
"""Elements of scores up to which a tile takes in more heads and batch elements."""


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
) -> tuple[Array, Array]:
    """(out (B, H, T_q, D_v), residual (2, B, H, T_q) for backward); `out` may be any view to write
    into.

    `mask` broadcasts to (B, H, T_q, T_k): boolean with True = attend, or added to the scores.
    `scale` defaults to 1/sqrt(D). The residual is a shift m of each query and the inverse of its
    sum of exp(S - m), 0 if it sees no key. Added up as log sum exp, they would lose all digits of
    the probabilities where |S| is large: under a mask of -1e9, say.
    """
    scale = _default_scale(q) if scale is None else scale
    if q.shape[2] == 1 and mask is None and out is None and k.size and q.size:
        return _one_query(q, k, v, scale, window)
    out = _empty(q.shape[:3] + v.shape[3:], q.dtype) if out is None else out
    residual = np.zeros((2, *q.shape[:3]), q.dtype)
    visible = Visibility.of(q, k, causal=causal, mask=mask, window=window)
    q5, out5, shift4, inverse4 = (_grouped(a, k.shape[1]) for a in (q, out, *residual))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        for tile in _tiles(q5, visible):
            keys, target = k[tile.keys], out5[tile.queries]
            queries = _columns(q5[tile.queries], scale, keys.shape[2])
            p, sums, shift = _exp_scores(queries, keys, visible, tile)
            values = (_transposed(p) @ v[tile.keys]).reshape(target.shape)
            inverse = _inverse(sums).reshape(target.shape[:4])
            np.multiply(values, inverse[..., None], out=target)
            inverse4[tile.queries] = inverse
            if shift is not None:
                shift4[tile.queries] = shift.reshape(inverse.shape)
    return out, residual


def _one_query(
    q: Array, k: Array, v: Array, scale: float, window: int | None
) -> tuple[Array, Array]:
    """`attention_forward` of one query a head, as when a token is decoded: it stands at the last
    key, so nothing but a window hides keys from it."""
    if window is not None:
        k, v = k[:, :, -window:], v[:, :, -window:]
    batch, heads, _, width = q.shape
    grouped = (q * scale).reshape(batch, k.shape[1], heads // k.shape[1], width)
    residual = np.empty((2, *grouped.shape[:3], 1), q.dtype)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        p = np.matmul(grouped, k.swapaxes(-1, -2))  # (B, H_kv, G, T_k)
        shift = np.maximum.reduce(p, axis=-1, keepdims=True, out=residual[0])
        shift[shift == -np.inf] = 0.0
        p -= shift
        np.exp(p, out=p)
        residual[1] = _inverse(np.add.reduce(p, axis=-1, keepdims=True))
        out = np.matmul(p, v)
        out *= residual[1]
    return out.reshape(batch, heads, 1, v.shape[3]), residual.reshape(2, batch, heads, 1)


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
    dq = _empty(q.shape, q.dtype) if dq is None else dq
    dk = _empty(k.shape, k.dtype) if dk is None else dk
    dv = _empty(v.shape, v.dtype) if dv is None else dv
    scale = _default_scale(q) if scale is None else scale
    visible = Visibility.of(q, k, causal=causal, mask=mask, window=window)
    delta = np.vecdot(g, out)
    per_query = (q, g, dq, *residual, delta)
    q5, g5, dq5, shift4, inverse4, delta4 = (_grouped(a, k.shape[1]) for a in per_query)
    shifted = bool(residual[0].any())
    if not delta.size:  # no tile will clear them
        dk[...], dv[...] = 0.0, 0.0
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for tile in _tiles(q5, visible):
            queries, grad, inverse = q5[tile.queries], g5[tile.queries], inverse4[tile.queries]
            keys, delta = k[tile.keys], _stacked(delta4[tile.queries] * inverse * scale)
            p = _scores(_columns(queries, scale, keys.shape[2]), keys, visible, tile)
            if shifted:
                p -= _stacked(shift4[tile.queries])[..., None, :]
            np.exp(p, out=p)
            # P = exp(S - shift) / sum; the divisor, and dS's scale, go to the smaller factors.
            _add_product(p, _stacked(grad * inverse[..., None]), dv, tile)
            grad = _columns(grad, (inverse * scale)[..., None], keys.shape[2])
            dscores = np.matmul(v[tile.keys], grad, out=empty(p.shape, p.dtype))
            dscores -= delta[..., None, :]
            dscores *= p
            _add_product(dscores, _stacked(queries), dk, tile)
            _product(_transposed(dscores), keys, dq5[tile.queries])
    return dq, dk, dv


class _Tile(NamedTuple):
    """Some queries of some heads of some batch elements, and the keys that they can see."""

    queries: tuple[slice, slice, slice, slice]  # of an array (B, H_kv, G, T_q, ...)
    keys: tuple[slice, slice, slice]  # of an array (B, H_kv, T_k, ...)
    first: bool  # the first of those that share these heads


def _tiles(q5: Array, visible: Visibility) -> Iterator[_Tile]:
    """Cover all queries q5 (B, H_kv, G, T_q, D)."""
    batch, kv_heads, group, n_queries, _ = q5.shape
    rows = min(n_queries, max(1, TILE_QUERIES // max(1, group)))
    together = max(1, TILE // max(1, group * rows * visible.n_keys))  # heads of one tile
    heads = min(together, kv_heads) if kv_heads else 1
    elements = max(1, together // heads)
    blocks = [slice(i, min(i + rows, n_queries)) for i in range(0, n_queries, max(1, rows))]
    for b in range(0, batch, elements):
        for h in range(0, kv_heads, heads):
            stack = slice(b, b + elements), slice(h, h + heads)
            for queries in reversed(blocks):  # the last see most keys
                place = (*stack, slice(None), queries)
                yield _Tile(place, (*stack, visible.keys(queries)), queries is blocks[-1])


def _exp_scores(
    queries: Array, keys: Array, visible: Visibility, tile: _Tile
) -> tuple[Array, Array, Array | None]:
    """exp(S - shift) (..., keys, G rows), its sums over the keys, and the shift, None for 0.

    A query that sees nothing has sum 0.
    """
    p = _scores(queries, keys, visible, tile)
    np.exp(p, out=p)
    total = ones(p.shape[-2], p.dtype)
    sums = total @ p
    if is_safe(sums).all():
        return p, sums, None
    p = _scores(queries, keys, visible, tile)
    shift = np.maximum.reduce(p, axis=-2, initial=-np.inf)
    shift[shift == -np.inf] = 0.0
    p -= shift[..., None, :]
    np.exp(p, out=p)
    return p, total @ p, shift


def _scores(queries: Array, keys: Array, visible: Visibility, tile: _Tile) -> Array:
    """K Q^T (..., keys, G rows), -inf where a query does not see a key; Q is scaled, in columns."""
    shape = (*keys.shape[:3], queries.shape[3])
    scores = np.matmul(keys, queries, out=empty(shape, keys.dtype))
    n_rows = tile.queries[-1].stop - tile.queries[-1].start
    grouped = scores.reshape(*scores.shape[:-1], scores.shape[-1] // n_rows, n_rows)
    visible.hide(grouped, tile.queries, tile.keys)
    return scores


def _product(a: Array, b: Array, target: Array) -> None:
    """target (B, H_kv, G, T, D) = a b, where a has the rows G T."""
    if target.shape[2] == 1:
        np.matmul(a, b, out=target[:, :, 0])
    else:
        target[...] = (a @ b).reshape(target.shape)


def _add_product(a: Array, b: Array, total: Array, tile: _Tile) -> None:
    """total[keys] += a b; the first tile of a head writes instead, and clears the other keys."""
    target = total[tile.keys]
    if not tile.first:
        target += a @ b
        return
    if target.shape[2] < total.shape[2]:
        total[tile.keys[:2]] = 0.0
    np.matmul(a, b, out=target)


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
    return empty((batch, length, heads, width), dtype).transpose(0, 2, 1, 3)


def _grouped(a: Array, kv_heads: int) -> Array:
    """(B, H, ...) -> (B, H_kv, G, ...), a view."""
    group = a.shape[1] // max(1, kv_heads)
    return a.reshape((a.shape[0], kv_heads, group, *a.shape[2:]))


def _stacked(a: Array) -> Array:
    """(B, H_kv, G, T, ...) -> (B, H_kv, G T, ...): a view for G = 1."""
    batch, kv_heads, group, length = a.shape[:4]
    return a.reshape((batch, kv_heads, group * length, *a.shape[4:]))


def _columns(a: Array, factor: Array | float, n_keys: int) -> Array:
    """a (B, H_kv, G, T, D) times factor (a number, or one a row) -> (B, H_kv, D, G T), to stand on
    the right of a product with `n_keys` rows.

    The copy that scaling makes anyway is contiguous for a small product, which OpenBLAS multiplies
    where it lies, twice as fast as a transposed one; a larger one is packed whatever its layout.
    """
    batch, kv_heads, group, length, width = a.shape
    if n_keys * group * length * width > SMALL:
        return _transposed(_stacked(a * factor))
    columns = empty((batch, kv_heads, width, group, length), a.dtype)
    if isinstance(factor, np.ndarray):
        factor = factor.transpose(0, 1, 4, 2, 3)
    np.multiply(a.transpose(0, 1, 4, 2, 3), factor, out=columns)
    return columns.reshape(batch, kv_heads, width, group * length)


def _transposed(a: Array) -> Array:
    return a.swapaxes(-1, -2)
