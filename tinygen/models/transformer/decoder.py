"""What every decoder here does alike: logits from features, the loss, and generation.

B batch, T positions, C width, V vocabulary. Position t sees positions 0 ... t only, so one pass
over a text gives a prediction of every next token, and generation can keep what it has computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from tinygen import nn, ops
from tinygen.arguments import integer
from tinygen.backend import Array, backend_of
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.function import Value
from tinygen.models.checks import require_examples, require_tokens
from tinygen.models.transformer.sampling import Sampler, Tokens
from tinygen.nn import Parameter
from tinygen.random import Generator
from tinygen.tensor import as_numpy, plain

Cache = list[nn.KeyValueCache]
"""One key/value cache a block."""


class Decoder(nn.Module):
    """`model(tokens)` gives logits, `model.loss(tokens, targets)` nats a token, and
    `model.generate(tokens, ...)` yields the tokens that follow.

    A model has `config` with its `block_size` and `n_layer`, `token_embedding`, `blocks`, and
    `head`, None where the token embedding is that too (tied); it writes `_features`.
    """

    config: Any
    token_embedding: nn.Embedding
    blocks: list[Any]
    head: nn.Linear | None

    def forward(
        self,
        tokens: Value,
        cache: Cache | None = None,
        *,
        positions: Value = None,
        mask: Value = None,
    ) -> Any:
        """tokens (B, T), integers below vocab_size -> logits (B, T, V).

        With a `cache` from `new_cache()`, the tokens follow those given with it before, and the
        logits are those of the whole sequence at the new positions; for inference only.
        `positions` (T,) or (B, T) are integers, by default those that follow the cached ones.
        `mask`, if given, says in every block which keys a query sees, beside causality: see
        `tg.ops.attention`.
        """
        return self._head(self._features(tokens, cache, positions, mask))

    def loss(self, tokens: Value, targets: Value) -> Any:
        """The mean of -log p(target), in nats; targets (B, T) are the tokens one place later."""
        require_examples(tokens)
        return ops.cross_entropy(self(tokens), targets)

    def _features(
        self,
        tokens: Value,
        cache: Cache | None,
        positions: Value = None,
        mask: Value = None,
    ) -> Any:
        """(B, T) -> (B, T, C), what the head makes logits of."""
        raise NotImplementedError(f"{type(self).__name__} does not define _features")

    def _head(self, features: Value) -> Any:
        weight = (self.token_embedding if self.head is None else self.head).weight
        return ops.linear(features, weight)  # (..., C) -> (..., V)

    def _initialise(self, ends: Iterable[Parameter], rng: Generator) -> None:
        """Weights N(0, 0.02^2), biases 0. The 2 n_layer branches add up on the residual path, so
        their last weights, `ends`, are smaller by sqrt(2 n_layer) (Radford et al. 2019, section
        2.3)."""
        std = 0.02
        narrow = std / math.sqrt(2 * self.config.n_layer)
        last = set(ends)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                spread = narrow if module.weight in last else std
                weight = module.weight.data
                weight[...] = nn.init.normal(weight.shape, std=spread, rng=rng)
            if isinstance(module, nn.Linear) and module.bias is not None:
                module.bias.data[...] = 0

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
        From there on the window slides: since every token then has another position, the last
        block_size tokens are computed anew, exactly as `model(window)` would.
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


def positions_of(tokens: Value, cache: Cache | None, positions: Value) -> Array:
    """`positions`, checked, or those that follow the cached ones: (T,) or (B, T) integers.

    Raises DtypeError and ShapeError, also where the tokens are no integers (B, T).
    """
    require_tokens(tokens)
    B, T = tokens.shape
    if positions is None:
        start = cache[0].length if cache else 0
        return backend_of([plain(tokens)]).xp.arange(start, start + T)
    where = plain(positions)
    if getattr(getattr(where, "dtype", None), "kind", "") not in ("i", "u"):
        raise DtypeError("positions are an array of integers, (T,) or (B, T).")
    if where.shape not in ((T,), (B, T)):
        raise ShapeError(
            f"positions have shape {where.shape}, and tokens {tokens.shape}; give (T,) or (B, T)."
        )
    return where
