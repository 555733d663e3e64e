"""GPT-2: a decoder that predicts the next token (Radford et al. 2019, "Language Models are
Unsupervised Multitask Learners").

    tokens (B, T) ──▶ token embedding + position embedding
                          │
                          ▼            ┌─────────────────────────────────────────┐
                      n_layer blocks:  │ x = x + attention(layer_norm(x))        │
                          │            │ x = x + down(gelu(up(layer_norm(x))))   │
                          ▼            └─────────────────────────────────────────┘
                      layer_norm ──▶ times the token embedding again ──▶ logits (B, T, V)

B batch, T positions, C width, V vocabulary. What follows from tokens to logits to text is in
`decoder.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinygen import nn
from tinygen.arguments import integer, is_finite, number
from tinygen.errors import ShapeError, UsageError
from tinygen.function import Value
from tinygen.models.transformer.decoder import Cache, Decoder, positions_of
from tinygen.ops.checks import one_of
from tinygen.ops.linear import ACTIVATIONS
from tinygen.random import Generator
from tinygen.tensor import Tensor


@dataclass(frozen=True)
class GPTConfig:
    """The sizes of a GPT; GPT-2 small is GPTConfig(50257, 1024, 12, 12, 768, dropout=0.1).

    `hidden`, the features between the two layers of an MLP, is 4 width if left out. `tied`: the
    head is the token embedding; else it has a weight of its own.
    """

    vocab_size: int
    block_size: int
    n_layer: int
    n_head: int
    width: int
    dropout: float = 0.0
    bias: bool = True
    hidden: int | None = None
    activation: str = "gelu_tanh"
    eps: float = 1e-5
    tied: bool = True

    def __post_init__(self) -> None:
        for name in ("vocab_size", "block_size", "n_layer", "n_head", "width"):
            integer(name, getattr(self, name), least=1)
        if self.hidden is not None:
            integer("hidden", self.hidden, least=1)
        if self.width % self.n_head:
            raise UsageError(
                f"width {self.width} cannot be cut into {self.n_head} heads; make it a multiple of "
                f"n_head, such as {self.n_head * max(1, round(self.width / self.n_head))}."
            )
        if not (is_finite(self.dropout) and 0 <= self.dropout < 1):
            raise UsageError(f"dropout is {self.dropout!r}; it lies in [0, 1).")
        number("eps", self.eps, least=0)
        one_of("GPTConfig", "activation", self.activation, ACTIVATIONS)


class GPT(Decoder):
    """The model. Dropout, if any, falls on the embeddings and on the output of each branch; not on
    the attention probabilities, which are never stored.
    """

    config: GPTConfig
    blocks: list[nn.TransformerBlock]

    def __init__(self, config: GPTConfig, *, rng: Generator) -> None:
        c = self.config = config
        self.token_embedding = nn.Embedding(c.vocab_size, c.width, rng=rng)
        self.position_embedding = nn.Embedding(c.block_size, c.width, rng=rng)
        self.dropout = nn.Dropout(c.dropout, rng=rng)
        self.blocks = [
            nn.TransformerBlock(
                c.width,
                c.n_head,
                hidden=c.hidden,
                bias=c.bias,
                causal=True,
                dropout=c.dropout,
                activation=c.activation,
                eps=c.eps,
                rng=rng,
            )
            for _ in range(c.n_layer)
        ]
        self.norm = nn.LayerNorm(c.width, c.bias, c.eps)
        self.head = None if c.tied else nn.Linear(c.width, c.vocab_size, bias=False, rng=rng)
        ends = [block.attn.out.weight for block in self.blocks]
        self._initialise([*ends, *(block.mlp.down.weight for block in self.blocks)], rng)

    def _features(
        self, tokens: Value, cache: Cache | None, positions: Value = None, mask: Value = None
    ) -> Any:
        where = positions_of(tokens, cache, positions)
        table: Tensor = self.position_embedding.weight
        if positions is not None:
            located = self.position_embedding(where)  # (T, C) or (B, T, C)
        else:
            start = cache[0].length if cache else 0
            stop = start + tokens.shape[1]
            if stop > self.config.block_size:
                raise ShapeError(
                    f"{stop} positions are more than the model's block_size "
                    f"{self.config.block_size}; give it at most the last {self.config.block_size}."
                )
            located = table if (start, stop) == (0, len(table)) else table[start:stop]
        x = self.dropout(self.token_embedding(tokens) + located)  # (B, T, C) + (T, C)
        for i, block in enumerate(self.blocks):
            x = block(x, mask=mask, cache=cache[i] if cache else None)  # (B, T, C)
        return self.norm(x)
