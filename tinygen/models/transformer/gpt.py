"""GPT-2: a decoder that predicts the next token (Radford et al. 2019, "Language Models are
Unsupervised Multitask Learners").

    tokens (B, T) ──▶ token embedding + position embedding
                          │
                          ▼            ┌─────────────────────────────────────────┐
                      n_layer blocks:  │ x = x + attention(layer_norm(x))        │
                          │            │ x = x + down(gelu(up(layer_norm(x))))   │
                          ▼            └─────────────────────────────────────────┘
                      layer_norm ──▶ times the token embedding again ──▶ logits (B, T, V)

B batch, T positions, C width, V vocabulary. Position t sees positions 0 ... t only, so one pass
over a text gives a prediction of every next token, and generation can keep what it has computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tinygen import nn, ops
from tinygen.arguments import integer, is_finite
from tinygen.backend import Array, backend_of
from tinygen.errors import ShapeError, UsageError
from tinygen.function import Value
from tinygen.models.checks import require_examples, require_tokens
from tinygen.models.transformer.sampling import Sampler, Tokens
from tinygen.random import Generator
from tinygen.tensor import Tensor, as_numpy, plain

Cache = list[nn.KeyValueCache]
"""One key/value cache a block."""


@dataclass(frozen=True)
class GPTConfig:
    """The sizes of a GPT; GPT-2 small is GPTConfig(50257, 1024, 12, 12, 768, dropout=0.1)."""

    vocab_size: int
    block_size: int
    n_layer: int
    n_head: int
    width: int
    dropout: float = 0.0
    bias: bool = True

    def __post_init__(self) -> None:
        for name in ("vocab_size", "block_size", "n_layer", "n_head", "width"):
            integer(name, getattr(self, name), least=1)
        if self.width % self.n_head:
            raise UsageError(
                f"width {self.width} cannot be cut into {self.n_head} heads; make it a multiple of "
                f"n_head, such as {self.n_head * max(1, round(self.width / self.n_head))}."
            )
        if not (is_finite(self.dropout) and 0 <= self.dropout < 1):
            raise UsageError(f"dropout is {self.dropout!r}; it lies in [0, 1).")


class GPT(nn.Module):
    """The model. `model(tokens)` gives logits, `model.loss(tokens, targets)` nats a token, and
    `model.generate(tokens, ...)` yields the tokens that follow.

    The head is the token embedding itself (tied). Dropout, if any, falls on the embeddings and on
    the output of each branch; not on the attention probabilities, which are never stored.
    """

    def __init__(self, config: GPTConfig, *, rng: Generator) -> None:
        c = self.config = config
        self.token_embedding = nn.Embedding(c.vocab_size, c.width, rng=rng)
        self.position_embedding = nn.Embedding(c.block_size, c.width, rng=rng)
        self.dropout = nn.Dropout(c.dropout, rng=rng)
        self.blocks = [
            nn.TransformerBlock(
                c.width,
                c.n_head,
                bias=c.bias,
                causal=True,
                dropout=c.dropout,
                activation="gelu_tanh",
                rng=rng,
            )
            for _ in range(c.n_layer)
        ]
        self.norm = nn.LayerNorm(c.width, c.bias)
        self._initialise(rng)

    def _initialise(self, rng: Generator) -> None:
        """Weights N(0, 0.02^2), biases 0. The 2 n_layer branches add up on the residual path, so
        their last weights are smaller by sqrt(2 n_layer) (Radford et al. 2019, section 2.3)."""
        std = 0.02
        narrow = std / math.sqrt(2 * self.config.n_layer)
        ends = {block.attn.out.weight for block in self.blocks}
        ends |= {block.mlp.down.weight for block in self.blocks}
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                spread = narrow if module.weight in ends else std
                weight = module.weight.data
                weight[...] = nn.init.normal(weight.shape, std=spread, rng=rng)
            if isinstance(module, nn.Linear) and module.bias is not None:
                module.bias.data[...] = 0

    def forward(self, tokens: Value, cache: Cache | None = None) -> Any:
        """tokens (B, T), integers below vocab_size, T at most block_size -> logits (B, T, V).

        With a `cache` from `new_cache()`, the tokens follow those given with it before, and the
        logits are those of the whole sequence at the new positions; for inference only.
        """
        return self._head(self._features(tokens, cache))

    def loss(self, tokens: Value, targets: Value) -> Any:
        """The mean of -log p(target), in nats; targets (B, T) are the tokens one place later."""
        require_examples(tokens)
        return ops.cross_entropy(self(tokens), targets)

    def _features(self, tokens: Value, cache: Cache | None) -> Any:
        start = cache[0].length if cache else 0
        require_tokens(tokens)
        stop = start + tokens.shape[1]
        if stop > self.config.block_size:
            raise ShapeError(
                f"{stop} positions are more than the model's block_size {self.config.block_size}; "
                f"give it at most the last {self.config.block_size}."
            )
        positions: Tensor = self.position_embedding.weight
        if (start, stop) != (0, self.config.block_size):
            positions = positions[start:stop]
        x = self.dropout(self.token_embedding(tokens) + positions)  # (B, T, C) + (T, C)
        for i, block in enumerate(self.blocks):
            x = block(x, cache=cache[i] if cache else None)  # (B, T, C)
        return self.norm(x)

    def _head(self, features: Value) -> Any:
        return ops.linear(features, self.token_embedding.weight)  # (..., C) -> (..., V)

    # ---- generation

    def new_cache(self) -> Cache:
        """An empty cache for one batch of sequences."""
        return [nn.KeyValueCache(self.config.block_size) for _ in self.blocks]

    def generate(
        self,
        tokens: Value,
        *,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        rng: Generator | None = None,
    ) -> Iterator[Tokens]:
        """Yields the next tokens (B,), one position at a time, `max_new_tokens` times.

        tokens (B, T), T >= 1. `temperature`, `top_k` and `top_p` as in `Sampler`; `temperature=0`
        takes the likeliest token and needs no `rng`. Dropout is off while a token is computed.

        A position costs one pass over the new token alone until block_size positions are filled.
        From there on the window slides: since every token then has another position embedding, the
        last block_size tokens are computed anew, exactly as `model(window)` would.
        """
        sampler = Sampler(temperature, top_k, top_p)
        require_tokens(tokens)
        if tokens.shape[1] < 1:
            raise ShapeError("generate needs a prompt of one token or more to continue from.")
        max_new_tokens = integer("max_new_tokens", max_new_tokens, least=0)
        if sampler.temperature and rng is None:
            raise UsageError("generate: give the random generator (rng=...), or temperature=0.")
        return self._generate(tokens, max_new_tokens, sampler, rng)

    def _generate(
        self, tokens: Value, max_new_tokens: int, sampler: Sampler, rng: Generator | None
    ) -> Iterator[Tokens]:
        block_size = self.config.block_size
        window = plain(tokens)[:, -block_size:]
        backend = backend_of([window])
        cache, fresh = self.new_cache(), window  # fresh: what the cache has not seen
        for _ in range(max_new_tokens):
            if cache[0].length + fresh.shape[1] > block_size:
                cache, fresh = self.new_cache(), window
            chosen = sampler.choose(self._next_logits(fresh, cache), rng)
            yield chosen
            fresh = backend.asarray(chosen)[:, None]  # (B, 1)
            window = backend.xp.concat([window, fresh], axis=1)[:, -block_size:]

    def _next_logits(self, tokens: Array, cache: Cache) -> Any:
        """(B, T) -> (B, V), the logits after the last position."""
        with self.inference():
            logits = self._head(self._features(tokens, cache)[:, -1])
        return as_numpy(logits)
