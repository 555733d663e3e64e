"""Attention of few queries and many keys, split over the keys: kernels/attention_decode.cu."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygen.backend.device.attention_rungs import sharing
from tinygen.backend.launch import Kernel, launch

Array = Any

THREADS = 128
TILES = 2
"""Tiles of keys that a split has at least."""
BLOCKS = 8
"""Of each multiprocessor, that the splits are to fill."""


def decode(
    backend: Any,
    types: dict[str, object],
    arrays: dict[str, Array],
    strides: Callable[[Array], list[Any]],
    scalars: list[Any],
) -> None:
    """Write `out` and `lse` (B, H, T) from q, k and v (B, H, T, D), the `arrays` of these names;
    `strides` gives the elements between their batch elements, heads and rows, and `scalars` are
    scale, behind and ahead."""
    q, k, v, out, lse = (arrays[name] for name in ("q", "k", "v", "out", "lse"))
    (B, H, T, D), (_, kv_heads, keys, _) = q.shape, k.shape
    columns = int(str(types["HEAD"]))
    tile = 64 if columns <= 64 else 32
    behind = int(scalars[1])
    tiles = max(1, -(-(keys - max(0, keys - T - behind) // tile * tile) // tile))
    wanted = BLOCKS * backend.multiprocessors // max(1, B * kv_heads)
    chunk = tile * -(-tiles // max(1, min(wanted, tiles // TILES)))
    splits = -(-tiles * tile // chunk)
    totals = backend.empty((splits, B, H, T, D), np.float32)
    stats = backend.empty((splits, B, H, T, 2), np.float32)
    spans = {name: backend.span(a) for name, a in arrays.items()}
    rows = 1 << (max(1, sharing(q, k)) - 1).bit_length()
    vector = {"VECTOR": _vector(backend, k, v)}
    kernel = Kernel("attention_decode.cu", "attention_decode", **types, **vector, ROWS=rows)
    args = [spans["q"], spans["k"], spans["v"], totals, stats]
    args += [np.int32(n) for n in (H, kv_heads, T, keys, D)]
    args += [*strides(q), *strides(k), *scalars, *(np.int32(n) for n in (B, splits, chunk))]
    launch(backend, kernel, (B * kv_heads * splits,), (THREADS,), args)
    kernel = Kernel("attention_decode.cu", "attention_combine", **types)
    args = [totals, stats, spans["out"], lse, np.int32(H), np.int32(T), np.int32(D)]
    args += [np.int64(B * H * T), np.int32(splits), *strides(out)]
    launch(backend, kernel, (-(-B * H * T // (THREADS // 32)),), (THREADS,), args)


def _vector(backend: Any, *arrays: Array) -> int:
    """Elements a load: those of 16 bytes where all rows begin and end at multiples of them."""
    wide = 16 // arrays[0].itemsize
    whole = all(
        backend.address(a) % 16 == 0
        and a.shape[3] % wide == 0
        and not any(stride % 16 for stride in a.strides[:3])
        for a in arrays
    )
    return wide if whole else 1
