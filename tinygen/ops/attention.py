"""Scaled dot-product attention (Vaswani et al. 2017, eq. 1).

B batch, H query heads, H_kv key/value heads, T_q queries, T_k keys, D features of a head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tinygen import ops
from tinygen.arguments import FLOATS, number
from tinygen.backend import Array, backend_of
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.function import FusedFunction, Value
from tinygen.ops.checks import same_float_dtype, whole
from tinygen.tensor import Tensor, plain

__all__ = ["attention", "packed_attention"]


class Attention(FusedFunction):
    """P = softmax(scale Q K^T + mask) by rows;  out = P V.

    With dP = g V^T and dS = P (dP - rowsum(dP P)):  dQ = scale dS K,  dK = scale dS^T Q,
    dV = P^T g. Only visible keys are computed; for long sequences P is never stored but computed
    again from its log-sum-exp (Dao et al. 2022, "FlashAttention", algorithms 1 and 4).
    """

    primitives = ("attention_forward", "attention_backward")

    @staticmethod
    def reference(q: Value, k: Value, v: Value, mask: Array, **options: Any) -> Value:
        return plain_attention(q, k, v, mask, **options)

    def forward(self, q: Array, k: Array, v: Array, mask: Array, **options: Any) -> Array:
        out, residual = self.backend.attention_forward(q, k, v, mask=mask, **options)
        self.save(q=q, k=k, v=v, mask=mask, out=out, residual=residual)
        return out

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        s = self.saved
        dq, dk, dv = self.backend.attention_backward(
            g, s.q, s.k, s.v, s.out, s.residual, mask=s.mask, **self.params
        )
        return dq, dk, dv, None

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return attention_flops(outputs[0].shape, arrays[1].shape[2], self.params["causal"])


class PackedAttention(FusedFunction):
    """Attention from one buffer: qkv (B, T, (H + 2 H_kv) D) -> (B, T, H D).

    The heads are strided views of `qkv` and the gradients are written straight into one buffer of
    its shape, so nothing is ever copied head by head.
    """

    primitives = ("attention_forward", "attention_backward")

    @staticmethod
    def reference(qkv: Value, mask: Array, *, n_head: int, n_kv_head: int, **options: Any) -> Value:
        q, k, v = heads_of(qkv, n_head, n_kv_head)
        out = plain_attention(q, k, v, mask, **options)  # (B, H, T, D)
        B, H, T, D = out.shape
        return ops.reshape(ops.permute_dims(out, (0, 2, 1, 3)), (B, T, H * D))

    def forward(
        self, qkv: Array, mask: Array, *, n_head: int, n_kv_head: int, **options: Any
    ) -> Array:
        q, k, v = heads_of(qkv, n_head, n_kv_head)
        B, H, T, D = q.shape
        merged = self.xp.empty((B, T, H * D), qkv.dtype)
        out = ops.permute_dims(merged.reshape(B, T, H, D), (0, 2, 1, 3))
        _, residual = self.backend.attention_forward(q, k, v, mask=mask, out=out, **options)
        self.save(qkv=qkv, mask=mask, merged=merged, residual=residual)
        return merged

    def backward(self, g: Array) -> tuple[Array, None]:
        s = self.saved
        options = dict(self.params)
        n_head, n_kv_head = options.pop("n_head"), options.pop("n_kv_head")
        q, k, v = heads_of(s.qkv, n_head, n_kv_head)
        B, H, T, D = q.shape
        g, out = (ops.permute_dims(a.reshape(B, T, H, D), (0, 2, 1, 3)) for a in (g, s.merged))
        dqkv = self.xp.empty(s.qkv.shape, s.qkv.dtype)
        dq, dk, dv = heads_of(dqkv, n_head, n_kv_head)
        self.backend.attention_backward(
            g, q, k, v, out, s.residual, mask=s.mask, dq=dq, dk=dk, dv=dv, **options
        )
        return dqkv, None

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        B, T, width = outputs[0].shape
        H = self.params["n_head"]
        return attention_flops((B, H, T, width // H), T, self.params["causal"])


def attention(
    q: Value,
    k: Value,
    v: Value,
    *,
    causal: bool = False,
    mask: Value = None,
    scale: float | None = None,
    window: int | None = None,
) -> Any:
    """softmax(scale q k^T) v for every head.

    q (B, H, T_q, D), k and v (B, H_kv, T_k, D), H a multiple of H_kv (each key/value head serves
    H / H_kv query heads in order) -> (B, H, T_q, D). `scale` is 1 / sqrt(D) if left out.

    `causal`: query i sees keys up to i + T_k - T_q, aligned at the end. `window` w: with causal a
    query sees itself and the w - 1 keys before it, without it w - 1 to both sides. `mask`
    broadcasts to (B, H, T_q, T_k): True = attend, or floats added to the scores (not
    differentiated). A query that sees no key gives zeros. Extra memory is O(T), not O(T^2).
    """
    same_float_dtype("attention", q=q, k=k, v=v)
    if not (q.ndim == k.ndim == v.ndim == 4) or k.shape != v.shape:
        raise ShapeError(
            f"attention: q, k, v have shapes {q.shape}, {k.shape}, {v.shape}; they are "
            "(B, H, T_q, D), (B, H_kv, T_k, D) and the same again."
        )
    (B, H, Tq, D), (Bk, Hkv, Tk, Dk) = q.shape, k.shape
    if Bk != B or Dk != D or Hkv == 0 or H % Hkv:
        raise ShapeError(
            f"attention: q {q.shape} and k {k.shape} must agree in B and D, and the query heads "
            "must be a multiple of the key/value heads."
        )
    mask = _checked_mask(mask, (B, H, Tq, Tk), q)
    scale = _checked_options(scale, window, D)
    return Attention.apply(q, k, v, mask, causal=causal, scale=scale, window=window)


def packed_attention(
    qkv: Value,
    n_head: int,
    n_kv_head: int | None = None,
    *,
    causal: bool = False,
    mask: Value = None,
    scale: float | None = None,
    window: int | None = None,
) -> Any:
    """Self-attention from the packed projection: qkv (B, T, (H + 2 H_kv) D) -> (B, T, H D).

    The features hold H query heads, then H_kv key heads, then H_kv value heads, D features each;
    otherwise as `attention`.
    """
    same_float_dtype("packed_attention", qkv=qkv)
    n_head = whole("packed_attention", "n_head", n_head)
    n_kv_head = n_head if n_kv_head is None else whole("packed_attention", "n_kv_head", n_kv_head)
    if n_head < 1 or n_kv_head < 1 or n_head % n_kv_head:
        raise UsageError(
            f"packed_attention: {n_head} query heads for {n_kv_head} key/value heads; the first "
            "must be a multiple of the second."
        )
    parts = n_head + 2 * n_kv_head
    if qkv.ndim != 3 or qkv.shape[2] % parts:
        raise ShapeError(
            f"packed_attention: qkv has shape {qkv.shape}; it is (B, T, (H + 2 H_kv) D), so its "
            f"last axis must be a multiple of {parts}."
        )
    B, T, width = qkv.shape
    mask = _checked_mask(mask, (B, n_head, T, T), qkv)
    scale = _checked_options(scale, window, width // parts)
    return PackedAttention.apply(
        qkv, mask, n_head=n_head, n_kv_head=n_kv_head, causal=causal, scale=scale, window=window
    )


def plain_attention(
    q: Value,
    k: Value,
    v: Value,
    mask: Array,
    *,
    causal: bool,
    scale: float,
    window: int | None,
) -> Value:
    """What attention means, in plain ops: the oracle, and what second order differentiates."""
    group = q.shape[1] // k.shape[1]
    if group > 1:
        k, v = ops.repeat(k, group, axis=1), ops.repeat(v, group, axis=1)
    scores = ops.matmul(q, ops.matrix_transpose(k)) * scale  # (B, H, T_q, T_k)
    data = plain(scores)
    xp = backend_of([data]).xp
    visible = visible_keys(xp, q.shape[2], k.shape[2], causal, window)  # (T_q, T_k)
    if mask is not None and mask.dtype.kind in FLOATS:
        visible = visible & (mask > -math.inf)
        scores = scores + xp.where(mask > -math.inf, mask, 0)
    elif mask is not None:
        visible = visible & mask
    lowest = float(xp.finfo(data.dtype).min) / 4  # its exponential is exactly 0
    probs = ops.softmax(ops.where(visible, scores, lowest), axis=-1)
    return ops.matmul(ops.where(visible, probs, 0.0), v)  # the last where: rows that see no key


def visible_keys(xp: Any, Tq: int, Tk: int, causal: bool, window: int | None) -> Array:
    """(T_q, T_k), True where a query may look; positions are aligned at the end."""
    distance = xp.arange(Tk - Tq, Tk)[:, None] - xp.arange(Tk)  # how far back the key lies
    visible = xp.ones((Tq, Tk), dtype=bool)
    if causal:
        visible &= distance >= 0
    if window is not None:
        visible &= xp.abs(distance) < window
    return visible


def heads_of(qkv: Value, n_head: int, n_kv_head: int) -> tuple[Value, Value, Value]:
    """Views (B, H, T, D), (B, H_kv, T, D) twice of a packed (B, T, (H + 2 H_kv) D)."""
    B, T, width = qkv.shape
    parts = n_head + 2 * n_kv_head
    heads = ops.reshape(qkv, (B, T, parts, width // parts))
    heads = ops.permute_dims(heads, (0, 2, 1, 3))  # (B, H + 2 H_kv, T, D)
    return heads[:, :n_head], heads[:, n_head : n_head + n_kv_head], heads[:, n_head + n_kv_head :]


def attention_flops(shape: tuple[int, ...], Tk: int, causal: bool) -> int:
    B, H, Tq, D = shape
    return 4 * B * H * Tq * Tk * D // (2 if causal else 1)


def _checked_mask(mask: Value, shape: tuple[int, ...], like: Value) -> Array:
    if mask is None:
        return None
    if isinstance(mask, Tensor):
        if mask.requires_grad:
            raise DtypeError("attention: the mask is not differentiated; pass mask.detach().")
        mask = mask.data
    kind = getattr(getattr(mask, "dtype", None), "kind", None)
    if kind != "b" and (kind not in FLOATS or mask.dtype != like.dtype):
        raise DtypeError(
            "attention: a mask is boolean (True = attend) or has the dtype of the queries, not "
            f"{getattr(mask, 'dtype', type(mask).__name__)}."
        )
    padded = (1,) * (4 - mask.ndim) + tuple(mask.shape)
    if len(padded) > 4 or any(m not in (1, n) for m, n in zip(padded, shape, strict=True)):
        raise ShapeError(f"attention: a mask of shape {mask.shape} does not broadcast to {shape}.")
    return mask


def _checked_options(scale: float | None, window: int | None, D: int) -> float:
    if window is not None and whole("attention", "window", window) < 1:
        raise UsageError(
            f"attention: window is {window}; a query sees at least itself, so 1 or more."
        )
    if scale is not None:
        scale = number("attention: scale", scale)
    return 1 / math.sqrt(D) if scale is None and D else 1.0 if scale is None else scale
