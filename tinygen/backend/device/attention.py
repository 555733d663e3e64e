"""Attention by kernels/attention_*.cu: which rung, for which arrays, over which grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np

from tinygen.backend.device.attention_decode import decode
from tinygen.backend.device.attention_rungs import backward_rung, forward_rung
from tinygen.backend.device.launching import DTYPES, type_of
from tinygen.backend.device.registry import serves
from tinygen.backend.launch import Kernel, launch

Array = Any

WIDEST = 128
"""Columns of a head that the kernels hold."""
EVERYTHING = 1 << 30
"""A reach beyond every key."""
THREADS = 128
ROWS, STEP, BACK = 64, 64, 32
"""Of attention_mma.cu: rows of a block, and of a step forward and backward."""
MOST_BATCH = 65_535
"""Blocks along the last axis of a grid."""
WGMMA_ROWS, SLAB = 128, 64
"""Of attention_wgmma.cu: rows of its tiles, and columns of what its copies are made of."""


def _fits(arrays: Sequence[Array], params: Mapping[str, Any]) -> bool:
    """No mask, and heads that fit: of (q, k, v, mask), or (qkv, mask) of packed attention."""
    heads = params["n_head"] + 2 * params["n_kv_head"] if "n_head" in params else 1
    return arrays[-1] is None and arrays[0].shape[-1] // heads <= WIDEST


@serves("attention_forward", dtypes=DTYPES, fits=_fits)
def attention_forward(
    backend: Any,
    q: Array,
    k: Array,
    v: Array,
    *,
    out: Array | None = None,
    mask: None = None,
    **options: Any,
) -> tuple[Array, Array]:
    """(out (B, H, T_q, D), lse (B, H, T_q)), as the CPU's primitive; lse is +inf for a query that
    sees no key."""
    if len(q) > MOST_BATCH:
        out = _like(backend, q) if out is None else out
        parts = [
            attention_forward(backend, q[i], k[i], v[i], out=out[i], **options)[1]
            for i in _batches(q)
        ]
        return out, backend.xp.concatenate(parts)
    q, k, v = _alike(backend, [_rows(backend, a) for a in (q, k, v)])
    B, H, T, D = q.shape
    target = _like(backend, q) if out is None or not _has_rows(out) else out
    lse = backend.empty((B, H, T), np.float32)
    sizes, scale = _sizes(q, k), _scalars(q, k, **options)
    args = [*_spans(backend, q, k, v, target), lse, *sizes]
    args += [*_strides(q), *_strides(k), *_strides(target), *scale]
    rung = forward_rung(backend, q, k, v, target, float(scale[0]))
    columns = _columns(D)
    if rung == "decode":
        types = {"TYPE": type_of(q), "HEAD": columns}
        arrays = {"q": q, "k": k, "v": v, "out": target, "lse": lse}
        decode(backend, types, arrays, _strides, scale)
        return _returned(out, target), lse
    kernel = _kernel(rung, "", q)
    if rung == "naive":
        launch(backend, kernel, (T, H, B), (THREADS,), args, 4 * (D + THREADS + k.shape[2]))
    elif rung == "wgmma":
        maps = [backend.tensor_map(a, (1, 1, WGMMA_ROWS, SLAB)) for a in (q, k, v)]
        args = [*maps, *_spans(backend, target), lse, *sizes, *_strides(target), *scale]
        launch(backend, kernel, (-(-T // WGMMA_ROWS), H, B), (384,), args, _wgmma_shared(D))
    elif rung == "tiled":
        launch(backend, kernel, (-(-T // _tile(D)), H, B), (THREADS,), args)
    else:
        shared = _rows_of_shared(ROWS + 4 * STEP, columns)
        launch(backend, kernel, (-(-T // ROWS), H, B), (THREADS,), args, shared)
    return _returned(out, target), lse


def _returned(out: Array | None, target: Array) -> Array:
    """`target`, in the array that was given for it, if one was."""
    if out is None or target is out:
        return target
    out[...] = target
    return out


@serves("attention_backward", dtypes=DTYPES, fits=_fits)
def attention_backward(
    backend: Any,
    g: Array,
    q: Array,
    k: Array,
    v: Array,
    out: Array,
    lse: Array,
    *,
    dq: Array | None = None,
    dk: Array | None = None,
    dv: Array | None = None,
    mask: None = None,
    **options: Any,
) -> tuple[Array, Array, Array]:
    """(dq, dk, dv), written into the views given or into fresh arrays."""
    if len(q) > MOST_BATCH:
        dq, dk, dv = (
            _like(backend, a) if to is None else to for a, to in ((q, dq), (k, dk), (v, dv))
        )
        for i in _batches(q):
            inputs = [a[i] for a in (g, q, k, v, out, lse)]
            attention_backward(backend, *inputs, dq=dq[i], dk=dk[i], dv=dv[i], **options)
        return dq, dk, dv
    g, out = (_rows(backend, a) for a in (g, out))
    q, k, v = _alike(backend, [_rows(backend, a) for a in (q, k, v)])
    (B, H, T, D), (_, kv_heads, keys, _) = q.shape, k.shape
    given = dq, dk, dv
    made_q, made_k, made_v = (
        _like(backend, a) if to is None or not _has_rows(to) else to
        for a, to in zip((q, k, v), given, strict=True)
    )
    if made_k.strides != made_v.strides:
        made_k, made_v = _like(backend, k), _like(backend, v)

    delta = backend.empty((B, H, T), np.float32)
    args = [*_spans(backend, g, out), delta, np.int32(H), np.int32(T), np.int32(D)]
    args += [np.int64(B * H * T), *_strides(g), *_strides(out)]
    rows = -(-B * H * T // (THREADS // 32))
    launch(backend, _kernel("tiled", "delta", q), (rows,), (THREADS,), args)

    sizes, scale = _sizes(q, k), _scalars(q, k, **options)
    inputs = [*_spans(backend, g, q, k, v), lse, delta]
    places = [*_strides(g), *_strides(q), *_strides(k)]
    rung = backward_rung(backend, g, q, k, v, made_q, made_k, made_v)
    tile, shared = _tile(D), 0
    if rung == "mma":
        tile, shared = ROWS, _rows_of_shared(2 * ROWS + 4 * BACK, _columns(D))
    args = [*inputs, *_spans(backend, made_q), *sizes, *places, *_strides(made_q), *scale]
    grid = -(-T // tile), H, B
    launch(backend, _kernel(rung, "_dq", q), grid, (THREADS,), args, shared)
    args = [*inputs, *_spans(backend, made_k, made_v), *sizes, *places, *_strides(made_k), *scale]
    grid = -(-keys // tile), kv_heads, B
    launch(backend, _kernel(rung, "_dkv", q), grid, (THREADS,), args, shared)

    results = []
    for to, made in zip(given, (made_q, made_k, made_v), strict=True):
        if to is not None and to is not made:
            to[...] = made
        results.append(made if to is None else to)
    return results[0], results[1], results[2]


def _kernel(rung: str, part: str, q: Array) -> Kernel:
    file = rung if rung in ("mma", "wgmma") else "simt"
    name = "attention_delta" if part == "delta" else f"attention_{rung}{part}"
    columns = _wgmma_columns(q.shape[3]) if rung == "wgmma" else _columns(q.shape[3])
    return Kernel(f"attention_{file}.cu", name, TYPE=type_of(q), HEAD=columns)


def _columns(width: int) -> int:
    """Columns of a tile of heads `width` wide."""
    return max(16, -(-width // 16) * 16)


def _tile(width: int) -> int:
    """TILE of attention_simt.cu."""
    return 32 if _columns(width) <= 64 else 16


def _wgmma_columns(width: int) -> int:
    """HEAD of attention_wgmma.cu: whole slabs, as many as wgmma has."""
    return SLAB if width <= SLAB else 2 * SLAB


def _wgmma_shared(width: int) -> int:
    """Bytes of its shared memory: Q, two stages of K and V, and nine barriers."""
    return 2 * _wgmma_columns(width) * WGMMA_ROWS * (1 + 2 * 2) + 9 * 8


def _rows_of_shared(rows: int, columns: int) -> int:
    """Bytes of `rows` rows of 16-bit numbers in attention_mma.cu's shared memory."""
    return rows * (columns + 8) * 2


def _sizes(q: Array, k: Array) -> list[Any]:
    (_, H, T, D), (_, kv_heads, keys, _) = q.shape, k.shape
    return [np.int32(n) for n in (H, kv_heads, T, keys, D)]


def _scalars(
    q: Array,
    k: Array,
    causal: bool = False,
    scale: float | None = None,
    window: int | None = None,
) -> list[Any]:
    """scale, behind and ahead."""
    reach = EVERYTHING if window is None else window - 1
    scale = 1.0 / sqrt(max(q.shape[3], 1)) if scale is None else scale
    return [np.float32(scale), np.int32(reach), np.int32(0 if causal else reach)]


def _batches(q: Array) -> list[slice]:
    return [slice(i, i + MOST_BATCH) for i in range(0, len(q), MOST_BATCH)]


def _has_rows(a: Array) -> bool:
    """Whether the elements of a row lie side by side."""
    return a.strides[-1] == a.itemsize and all(stride >= 0 for stride in a.strides)


def _rows(backend: Any, a: Array) -> Array:
    return a if _has_rows(a) else backend.xp.ascontiguousarray(a)


def _alike(backend: Any, arrays: list[Array]) -> list[Array]:
    """q, k, v with k and v laid out alike."""
    q, k, v = arrays
    if k.strides == v.strides:
        return arrays
    return [q, *(backend.xp.ascontiguousarray(a) for a in (k, v))]


def _like(backend: Any, a: Array) -> Array:
    """An empty (B, H, T, D), laid out (B, T, H, D): merging the heads is then a view."""
    B, H, T, D = a.shape
    return backend.empty((B, T, H, D), a.dtype).transpose(0, 2, 1, 3)


def _spans(backend: Any, *arrays: Array) -> list[Array]:
    return [backend.span(a) for a in arrays]


def _strides(a: Array) -> list[Any]:
    """Elements from one batch element, head and position to the next."""
    return [np.int64(stride // a.itemsize) for stride in a.strides[:3]]
