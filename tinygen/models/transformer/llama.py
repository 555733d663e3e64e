"""Llama: a decoder with rotary positions, RMS norms and gated MLPs (Touvron et al. 2023,
arXiv:2302.13971 and 2307.09288); Mistral (Jiang et al. 2023, arXiv:2310.06825) and Qwen 2 and 3
(arXiv:2407.10671, arXiv:2505.09388) are the same with other settings.

    tokens (B, T) ──▶ token embedding
                          │            ┌──────────────────────────────────────────────────┐
                          ▼            │ x = x + attention(rms_norm(x)), where q and k     │
                      n_layer blocks:  │         are turned by their positions            │
                          │            │ x = x + down(silu(gate(h)) up(h)), h = rms_norm(x)│
                          ▼            └──────────────────────────────────────────────────┘
                      rms_norm ──▶ head ──▶ logits (B, T, V)

B batch, T positions, C width, V vocabulary. What follows from tokens to logits to text is in
`decoder.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinygen import nn
from tinygen.arguments import integer, is_finite, number
from tinygen.errors import UsageError
from tinygen.function import Value
from tinygen.models.transformer.decoder import Cache, Decoder, positions_of
from tinygen.models.transformer.rope import DynamicScaling, RopeScaling, RotaryEmbedding
from tinygen.random import Generator
from tinygen.tensor import as_numpy


@dataclass(frozen=True)
class LlamaConfig:
    """The sizes of a Llama. What is left out is derived: as many key/value heads as query heads,
    width / n_head features a head, and 8/3 width hidden features in an MLP, rounded up to a
    multiple of 32, which makes its three matrices as large as GPT's two.

    block_size is the length that the model is for; positions beyond it are computed too, but
    `generate` keeps no more. `window` is what a query sees, itself included: one for all blocks or
    one a block, None being all before it. The biases are those of the query, key and value
    projections, of attention's output and of the MLP; `qk_norm` norms queries and keys in each
    head. `tied`: the head is the token embedding. Llama 1 7B is
    LlamaConfig(32000, 2048, 32, 32, 4096, hidden=11008).
    """

    vocab_size: int
    block_size: int
    n_layer: int
    n_head: int
    width: int
    dropout: float = 0.0
    n_kv_head: int | None = None
    head_dim: int | None = None
    hidden: int | None = None
    rope_base: float = 10000.0
    rope_scaling: RopeScaling | None = None
    window: int | tuple[int | None, ...] | None = None
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    eps: float = 1e-6
    tied: bool = False

    def __post_init__(self) -> None:
        for name in ("vocab_size", "block_size", "n_layer", "n_head", "width"):
            integer(name, getattr(self, name), least=1)
        for name in ("n_kv_head", "head_dim", "hidden"):
            if getattr(self, name) is not None:
                integer(name, getattr(self, name), least=1)
        if self.head_dim is None and self.width % self.n_head:
            raise UsageError(
                f"width {self.width} cannot be cut into {self.n_head} heads; make it a multiple of "
                "n_head, or give head_dim."
            )
        if self.features % 2:
            raise UsageError(
                f"head_dim is {self.features}; rotary positions turn pairs: make it even."
            )
        if self.n_head % self.n_groups:
            raise UsageError(
                f"n_kv_head is {self.n_groups}; it must divide the {self.n_head} query heads."
            )
        if not (is_finite(self.dropout) and 0 <= self.dropout < 1):
            raise UsageError(f"dropout is {self.dropout!r}; it lies in [0, 1).")
        number("rope_base", self.rope_base, above=0)
        number("eps", self.eps, least=0)
        if len(self.windows) != self.n_layer:
            raise UsageError(
                f"window has {len(self.windows)} entries for {self.n_layer} blocks; give one each."
            )
        for window in self.windows:
            if window is not None:
                integer("window", window, least=1)

    @property
    def n_groups(self) -> int:
        """Key/value heads."""
        return self.n_head if self.n_kv_head is None else self.n_kv_head

    @property
    def features(self) -> int:
        """Of a head."""
        return self.width // self.n_head if self.head_dim is None else self.head_dim

    @property
    def mlp_width(self) -> int:
        """Hidden features of an MLP."""
        return -(-8 * self.width // 96) * 32 if self.hidden is None else self.hidden

    @property
    def windows(self) -> tuple[int | None, ...]:
        """Of each block."""
        if isinstance(self.window, tuple):
            return self.window
        return (self.window,) * self.n_layer


class LlamaBlock(nn.Module):
    """x + attn(norm1(x)), then x + mlp(norm2(x)): (B, T, C) -> the same."""

    def __init__(self, config: LlamaConfig, window: int | None, *, rng: Generator) -> None:
        c = config
        self.norm1 = nn.RMSNorm(c.width, c.eps)
        self.attn = nn.MultiHeadAttention(
            c.width,
            c.n_head,
            n_kv_head=c.n_groups,
            head_dim=c.features,
            bias=c.qkv_bias,
            out_bias=c.out_bias,
            causal=True,
            window=window,
            qk_norm=c.eps if c.qk_norm else None,
            rng=rng,
        )
        self.norm2 = nn.RMSNorm(c.width, c.eps)
        self.mlp = nn.GatedMLP(c.width, c.mlp_width, c.mlp_bias, rng=rng)
        self.dropout = [nn.Dropout(c.dropout, rng=rng) for _ in range(2)]

    def forward(self, x: Value, **attention: Any) -> Any:
        """`attention`: the rotary tables, mask and cache of `nn.MultiHeadAttention`."""
        x = x + self.dropout[0](self.attn(self.norm1(x), **attention))
        return x + self.dropout[1](self.mlp(self.norm2(x)))


class Llama(Decoder):
    """The model. Dropout, if any, falls on the embeddings and on the output of each branch."""

    config: LlamaConfig
    blocks: list[LlamaBlock]

    def __init__(self, config: LlamaConfig, *, rng: Generator) -> None:
        c = self.config = config
        self.token_embedding = nn.Embedding(c.vocab_size, c.width, rng=rng)
        self.dropout = nn.Dropout(c.dropout, rng=rng)
        self.blocks = [LlamaBlock(c, window, rng=rng) for window in c.windows]
        self.norm = nn.RMSNorm(c.width, c.eps)
        self.head = None if c.tied else nn.Linear(c.width, c.vocab_size, bias=False, rng=rng)
        self.rotary = RotaryEmbedding(c.features, c.rope_base, c.rope_scaling)
        ends = [block.attn.out.weight for block in self.blocks]
        self._initialise([*ends, *(block.mlp.down.weight for block in self.blocks)], rng)

    def caches(self, length: int) -> bool:
        """Not where dynamic scaling turns every key by angles that depend on the text's length."""
        scaling = self.config.rope_scaling
        return not isinstance(scaling, DynamicScaling) or length <= scaling.trained

    def _features(
        self, tokens: Value, cache: Cache | None, positions: Value = None, mask: Value = None
    ) -> Any:
        where = positions_of(tokens, cache, positions)
        length = (cache[0].length if cache else 0) + tokens.shape[1]
        if positions is not None and where.size:
            length = int(as_numpy(where).max()) + 1
        x = self.dropout(self.token_embedding(tokens))  # (B, T, C)
        tables = self.rotary.tables(where, length, x.dtype)  # (T, D/2) each
        for i, block in enumerate(self.blocks):
            x = block(x, rotary=tables, mask=mask, cache=cache[i] if cache else None)
        return self.norm(x)
