"""What every decoder here does alike: logits from features, the loss, and generation.

B batch, T positions, C width, V vocabulary. Position t sees positions 0 ... t only, so one pass
over a text gives a prediction of every next token, and generation can keep what it has computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tinygen import nn, ops
from tinygen.backend import Array, backend_of
from tinygen.decoding import Processor, Recomputed, Sampler, sample
from tinygen.decoding.sampler import Randomness, Tokens
from tinygen.errors import DtypeError, ShapeError
from tinygen.function import Value
from tinygen.models.checks import require_examples, require_tokens
from tinygen.models.transformer.session import CachedSession
from tinygen.nn import Parameter
from tinygen.nn.arrays import lay_together
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
    special_tokens: Mapping[str, Any] = MappingProxyType({})
    """What a folder of the transformers package says of them: `eos_token_id` and so on."""

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
        for block in self.blocks:
            lay_together(block)

    # ---- generation

    @property
    def vocab_size(self) -> int:
        return int(self.config.vocab_size)

    def new_cache(self) -> Cache:
        """An empty cache for one batch of sequences."""
        return [nn.KeyValueCache(self.config.block_size, b.attn.window) for b in self.blocks]

    def caches(self, length: int) -> bool:
        """Whether the keys of a text's first tokens are the same in one of `length` tokens."""
        return True

    def session(self) -> CachedSession:
        """What `tinygen.decoding` asks of a model."""
        return CachedSession(self)

    def next_logits(self, tokens: Array, cache: Cache | None, last: int, **places: Value) -> Any:
        """(B, T) -> (B, last, V), the logits after the last positions; `places`: the positions and
        mask of `forward`."""
        return self._head(self._features(tokens, cache, **places)[:, -last:])

    def generate(
        self,
        tokens: Value,
        *,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        rng: Randomness = None,
        logits_processors: Sequence[Processor] = (),
        cache: bool = True,
    ) -> Iterator[Tokens]:
        """Yields the next tokens (B,), one position at a time, `max_new_tokens` times.

        tokens (B, T), T >= 1, or a list of arrays (T,) of different lengths. `temperature`,
        `top_k`, `top_p` and `min_p` as in `tinygen.decoding.Sampler`; `temperature=0` takes the
        likeliest token and needs no `rng`, which may be a list of generators, one a row. For
        processors see `tinygen.decoding.processors`; `tinygen.decoding.sample(model, ...)` gives
        log-probabilities too, and ends texts. Dropout is off while a token is computed.

        A position costs one pass over the new token alone until block_size positions are filled.
        From there on the window slides: since every token then has another position, the last
        block_size tokens are computed anew, exactly as `model(window)` would. Without `cache` that
        is done for each token.
        """
        model = self if cache else Recomputed(self._logits, self.vocab_size, self.config.block_size)
        sampler = Sampler(temperature, top_k, top_p, min_p)
        steps = sample(
            model,
            tokens,
            max_new_tokens=max_new_tokens,
            sampler=sampler,
            rng=rng,
            processors=logits_processors,
        )
        return (step.tokens for step in steps)

    def _logits(self, tokens: Tokens) -> Any:
        """(B, T) -> (B, T, V), outside the graph."""
        weight = self.token_embedding.weight.data
        with self.inference():
            return as_numpy(self(backend_of([weight]).asarray(tokens)))


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
