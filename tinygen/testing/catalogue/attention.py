"""Attention, separate and packed, and the turns of its queries and keys (rope)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.backend import Array
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.leaves import tensor
from tinygen.testing.bounds import conditioned
from tinygen.testing.catalogue import register
from tinygen.testing.catalogue.argument import bad, mask, zeros
from tinygen.testing.drawing import Call, Draw

# ---- rope ----------------------------------------------------------------------------------------


def rope_args(draw: Draw) -> Call:
    T, D = draw.side(), 2 * draw.choice((1, 2, 3))
    positions = draw.choice((None, draw.indices((T,), 0, 20)))
    x = draw.array((*draw.shape(0, 1), T, D))
    return Call(x, positions, base=draw.choice((10000.0, 100.0)), interleaved=draw.boolean())


def rope(x: Any, positions: Any, base: float, interleaved: bool) -> Any:
    """Pairs of features as complex numbers, turned by e^(i angle)."""
    T, D = x.shape[-2:]
    where = np.arange(T) if positions is None else positions
    powers = np.longdouble(base) ** (-np.arange(0, D, 2, dtype=np.longdouble) / D)
    turn = np.exp(1j * (where[:, None] * powers))
    half = D // 2
    a, b = (x[..., 0::2], x[..., 1::2]) if interleaved else (x[..., :half], x[..., half:])
    turned = (a + 1j * b) * turn
    parts = [turned.real, turned.imag]
    if interleaved:
        return np.stack(parts, -1).reshape(x.shape)
    return np.concatenate(parts, -1)


register(
    ops.rope,
    args=rope_args,
    truth=rope,
    bound=conditioned(32, of_largest=16),
    linear=True,
    fused=True,
    special=False,
    bad=(
        bad("odd features", ShapeError, lambda: ops.rope(zeros(2, 3))),
        bad("a vector", ShapeError, lambda: ops.rope(zeros(4))),
        bad("other tokens", ShapeError, lambda: ops.rope(zeros(2, 4), np.arange(3))),
        bad("positions of text", DtypeError, lambda: ops.rope(zeros(2, 4), "first")),
        bad("no base", UsageError, lambda: ops.rope(zeros(2, 4), base=0)),
    ),
)


def angles(*shape: int) -> tuple[Any, Any]:
    return zeros(*shape), zeros(*shape)


def learned(*shape: int) -> tuple[Any, Any]:
    cos, sin = (tensor(table, requires_grad=True) for table in angles(*shape))
    return cos, sin


def tables_args(draw: Draw) -> Call:
    batch, T, D = draw.side(most=2), draw.side(), 2 * draw.choice((1, 2, 3))
    x = draw.array((batch, 2, T, D))
    shape = draw.choice(((T, D // 2), (batch, 1, T, D // 2), (1, D // 2)))
    return Call(x, draw.array(shape), draw.array(shape), interleaved=draw.boolean())


def turned_by_tables(x: Any, cos: Any, sin: Any, interleaved: bool) -> Any:
    """Each pair by itself, by a matrix of two rows."""
    half = x.shape[-1] // 2
    turns = np.broadcast_to(np.stack([cos, sin], -1), (*x.shape[:-1], half, 2))
    y = np.empty_like(x)
    for place in np.ndindex(*x.shape[:-1], half):
        *token, i = place
        one, other = (2 * i, 2 * i + 1) if interleaved else (i, i + half)
        (c, s), vector = turns[place], x[tuple(token)]
        y[(*token, one)], y[(*token, other)] = np.array([[c, -s], [s, c]]) @ vector[[one, other]]
    return y


register(
    ops.rotate_pairs,
    args=tables_args,
    truth=turned_by_tables,
    bound=conditioned(8, of_largest=8),
    constants=(1, 2),
    linear=True,
    fused=True,
    special=False,
    bad=(
        bad("odd features", ShapeError, lambda: ops.rotate_pairs(zeros(2, 3), *angles(2, 1))),
        bad("a vector", ShapeError, lambda: ops.rotate_pairs(zeros(4), *angles(2))),
        bad("other tokens", ShapeError, lambda: ops.rotate_pairs(zeros(2, 4), *angles(3, 2))),
        bad("one pair for all", ShapeError, lambda: ops.rotate_pairs(zeros(2, 4), *angles(2, 1))),
        bad("too many axes", ShapeError, lambda: ops.rotate_pairs(zeros(2, 4), *angles(1, 2, 2))),
        bad("learned angles", DtypeError, lambda: ops.rotate_pairs(zeros(2, 4), *learned(2, 2))),
    ),
)


# ---- attention -----------------------------------------------------------------------------------


def attention_options(draw: Draw) -> dict[str, Any]:
    return {
        "causal": draw.boolean(),
        "window": draw.choice((None, None, 1, 2, 3)),
        "scale": draw.choice((None, 0.5)),
    }


def attention_mask(draw: Draw, shape: tuple[int, ...]) -> Array | None:
    """None, booleans or floats to add; with axes left out or of length one."""
    kind = draw.integer(0, 3)
    if kind < 2:
        return None
    shape = draw.choice((shape, shape[2:], (1, shape[1], 1, shape[3])))
    return mask(draw, shape) if kind == 2 else draw.array(shape)


def attention_args(draw: Draw) -> Call:
    B, group, heads = draw.side(most=2), draw.choice((1, 2, 3)), draw.choice((1, 2))
    Tq, Tk, D = draw.side(most=5), draw.side(most=5), draw.side(1, 3)
    q = draw.array((B, group * heads, Tq, D))
    k, v = (draw.array((B, heads, Tk, D)) for _ in range(2))
    masked = attention_mask(draw, (B, group * heads, Tq, Tk))
    return Call(q, k, v, masked, **attention_options(draw))


def attention(
    q: Any, k: Any, v: Any, mask: Any, causal: bool, window: int | None, scale: float | None
) -> Any:
    """One query at a time, in loops."""
    (B, H, Tq, D), (_, Hkv, Tk, _) = q.shape, k.shape
    scale = 1 / math.sqrt(D) if scale is None else scale
    full = None if mask is None else np.broadcast_to(mask, (B, H, Tq, Tk))
    out = np.zeros((B, H, Tq, D), np.longdouble)
    for b, h, i in np.ndindex(B, H, Tq):
        g = h // (H // Hkv)
        position = i + Tk - Tq
        seen = [
            j
            for j in range(Tk)
            if (not causal or j <= position)
            and (window is None or abs(position - j) < window)
            and (full is None or full.dtype != bool or full[b, h, i, j])
        ]
        if not seen:
            continue
        scores = np.array([(q[b, h, i] * k[b, g, j]).sum() * scale for j in seen])
        if full is not None and full.dtype != bool:
            scores = scores + full[b, h, i, seen]
        weights = np.exp(scores - scores.max())
        out[b, h, i] = (weights[:, None] * v[b, g, seen]).sum(0) / weights.sum()
    return out


def bad_attention(**shapes: tuple[int, ...]) -> Any:
    given = {"q": (1, 2, 3, 4), "k": (1, 2, 3, 4), "v": (1, 2, 3, 4), **shapes}
    return lambda: ops.attention(*(zeros(*given[name]) for name in "qkv"))


def with_options(**options: Any) -> Any:
    return lambda: ops.attention(*(zeros(1, 2, 3, 4) for _ in "qkv"), **options)


register(
    lambda q, k, v, mask, **options: ops.attention(q, k, v, mask=mask, **options),
    name="attention",
    args=attention_args,
    truth=attention,
    bound=conditioned(16, of_largest=8),
    constants=(3,),
    regimes=("smooth", "ties"),
    fused=True,
    special=False,
    bad=(
        bad("k and v differ", ShapeError, bad_attention(v=(1, 2, 4, 4))),
        bad("features", ShapeError, bad_attention(q=(1, 2, 3, 5))),
        bad("heads", ShapeError, bad_attention(k=(1, 3, 3, 4), v=(1, 3, 3, 4))),
        bad("three axes", ShapeError, bad_attention(q=(2, 3, 4))),
        bad("no window", UsageError, with_options(window=0)),
        bad("a scale of NaN", UsageError, with_options(scale=math.nan)),
        bad("a mask of another shape", ShapeError, with_options(mask=zeros(2, 2))),
        bad("a mask of integers", DtypeError, with_options(mask=np.ones((3, 3), int))),
    ),
)


def packed_args(draw: Draw) -> Call:
    B, T, D = draw.side(most=2), draw.side(most=5), draw.side(1, 3)
    heads, group = draw.choice((1, 2)), draw.choice((1, 2))
    n_head = heads * group
    qkv = draw.array((B, T, (n_head + 2 * heads) * D))
    masked = attention_mask(draw, (B, n_head, T, T))
    return Call(qkv, masked, n_head=n_head, n_kv_head=heads, **attention_options(draw))


def packed_attention(qkv: Any, mask: Any, n_head: int, n_kv_head: int, **options: Any) -> Any:
    B, T, width = qkv.shape
    parts = n_head + 2 * n_kv_head
    D = width // parts
    heads = qkv.reshape(B, T, parts, D).transpose(0, 2, 1, 3)
    q, k, v = np.split(heads, [n_head, n_head + n_kv_head], axis=1)
    return attention(q, k, v, mask, **options).transpose(0, 2, 1, 3).reshape(B, T, n_head * D)


register(
    lambda qkv, mask, **options: ops.packed_attention(qkv, mask=mask, **options),
    name="packed_attention",
    args=packed_args,
    truth=packed_attention,
    bound=conditioned(16, of_largest=8),
    constants=(1,),
    regimes=("smooth", "ties"),
    fused=True,
    special=False,
    bad=(
        bad("a width of no heads", ShapeError, lambda: ops.packed_attention(zeros(1, 2, 7), 2)),
        bad("two axes", ShapeError, lambda: ops.packed_attention(zeros(2, 6), 2)),
        bad("heads", UsageError, lambda: ops.packed_attention(zeros(1, 2, 6), 2, 3)),
        bad("no heads", UsageError, lambda: ops.packed_attention(zeros(1, 2, 6), 0)),
    ),
)
