"""Multi-head self-attention.

B batch, T positions, C width, H query heads, H_kv key/value heads, D = C / H features of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen import ops
from tinygen.backend import Array
from tinygen.errors import UsageError
from tinygen.function import Value
from tinygen.nn.cache import KeyValueCache
from tinygen.nn.linear import Linear
from tinygen.nn.module import Module
from tinygen.nn.norm import RMSNorm
from tinygen.nn.sizes import require_sizes
from tinygen.random import Generator
from tinygen.tensor import Tensor


class MultiHeadAttention(Module):
    """out(attention(q, k, v)), with q, k, v = qkv(x) cut into heads: x (B, T, C) -> (B, T, C)
    (Vaswani et al. 2017, section 3.2.2).

    One packed weight makes all heads; its outputs are H query heads, then H_kv key heads, then
    H_kv value heads. With n_kv_head < n_head each key/value head serves H / H_kv query heads in
    order (Ainslie et al. 2023). `head_dim` is width / n_head if left out; `bias` is that of qkv
    and, unless `out_bias` says otherwise, of out; `window` is that of `tg.ops.attention`. With
    `qk_norm`, an eps, queries and keys are RMS-normed in each head (Henry et al. 2020,
    arXiv:2010.04245, as Qwen3 has it).
    """

    def __init__(
        self,
        width: int,
        n_head: int,
        *,
        n_kv_head: int | None = None,
        head_dim: int | None = None,
        bias: bool = True,
        out_bias: bool | None = None,
        causal: bool = False,
        window: int | None = None,
        qk_norm: float | None = None,
        rng: Generator,
    ) -> None:
        n_kv_head = n_head if n_kv_head is None else n_kv_head
        require_sizes("MultiHeadAttention", width=width, n_head=n_head, n_kv_head=n_kv_head)
        if (head_dim is None and width % n_head) or n_head % n_kv_head:
            raise UsageError(
                f"MultiHeadAttention: {n_head} heads of width {width} with {n_kv_head} key/value "
                "heads; width must be a multiple of n_head, and n_head of n_kv_head."
            )
        head_dim = width // n_head if head_dim is None else head_dim
        require_sizes("MultiHeadAttention", head_dim=head_dim)
        self.n_head, self.n_kv_head = n_head, n_kv_head
        self.causal, self.window = causal, window
        self.qkv = Linear(width, (n_head + 2 * n_kv_head) * head_dim, bias, rng=rng)
        self.q_norm = None if qk_norm is None else RMSNorm(head_dim, qk_norm)
        self.k_norm = None if qk_norm is None else RMSNorm(head_dim, qk_norm)
        self.out = Linear(n_head * head_dim, width, bias if out_bias is None else out_bias, rng=rng)

    def forward(
        self,
        x: Value,
        *,
        rotary: tuple[Array, Array] | None = None,
        mask: Value = None,
        cache: KeyValueCache | None = None,
    ) -> Any:
        """`rotary` are the cosines and sines that turn queries and keys, (T, D/2) or (B, 1, T, D/2)
        each; `mask` as in `tg.ops.attention`. With a `cache`, x are the positions that follow the
        cached ones, and attend to those too; for causal attention the result is that of the whole
        sequence."""
        qkv = self.qkv(x)  # (B, T, (H + 2 H_kv) D)
        options = {"causal": self.causal, "window": self.window, "mask": mask}
        if cache is None and rotary is None and self.q_norm is None:
            return self.out(ops.packed_attention(qkv, self.n_head, self.n_kv_head, **options))
        q, k, v = self._heads(qkv)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if rotary is not None:
            q, k = (ops.rotate_pairs(heads, *rotary) for heads in (q, k))
        if cache is not None:
            k, v = cache.append(k, v)  # (B, H_kv, n, D), n all positions or those of a window
            if mask is not None:
                options["mask"] = mask[..., -k.shape[2] :]
        out = ops.attention(q, k, v, **options)  # (B, H, T, D)
        B, H, T, D = out.shape
        if not isinstance(out, Tensor):
            return self.out(out.transpose(0, 2, 1, 3).reshape(B, T, H * D))
        return self.out(ops.reshape(ops.permute_dims(out, (0, 2, 1, 3)), (B, T, H * D)))

    def _heads(self, qkv: Value) -> Sequence[Value]:
        """Views (B, H, T, D), (B, H_kv, T, D) twice; their gradients come back as one buffer."""
        B, T, packed = qkv.shape
        H, H_kv = self.n_head, self.n_kv_head
        shape = (B, T, H + 2 * H_kv, packed // (H + 2 * H_kv))
        if not isinstance(qkv, Tensor):  # plain views, without the price of ops
            heads = qkv.reshape(shape).transpose(0, 2, 1, 3)
            return heads[:, :H], heads[:, H : H + H_kv], heads[:, H + H_kv :]
        parts = ops.split(ops.reshape(qkv, shape), [H, H + H_kv], axis=2)
        return [ops.permute_dims(part, (0, 2, 1, 3)) for part in parts]

    def settings(self) -> str:
        grouped = "" if self.n_kv_head == self.n_head else f", n_kv_head={self.n_kv_head}"
        window = "" if self.window is None else f", window={self.window}"
        return f"n_head={self.n_head}{grouped}{', causal' if self.causal else ''}{window}"
