"""What a decoder has read of a batch of texts: the texts, and the keys and values of their tokens.

B batch, T positions, V vocabulary.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from tinygen import trace
from tinygen.backend import backend_of
from tinygen.decoding.prompts import filled
from tinygen.decoding.sampler import Floats, Tokens
from tinygen.nn import KeyValueCache
from tinygen.nn.arrays import has_hooks, on_arrays
from tinygen.tensor import as_numpy


class CachedSession:
    """A `tinygen.decoding.Session` of a decoder: a step costs one pass over the new tokens alone.

    Texts of different lengths end together: the places of the cache where a row has nothing yet are
    hidden from its queries, and its positions count what it has. Where a text outgrows the model's
    block_size its window slides: every token then has another position, so the last block_size
    tokens are read anew, exactly as `model(window)` would.
    """

    def __init__(self, model: Any) -> None:
        self.model = model  # a Decoder, which imports this file
        self.modules = model.modules()
        self.backend = backend_of([model.token_embedding.weight.data])
        ours = all(type(module).__module__.startswith("tinygen.") for module in self.modules)
        # Modules of the user's own may need what only Tensors have; other devices gain nothing.
        self.twin = on_arrays(model) if ours and not self.backend.partial else None
        self.texts: list[Tokens] | None = None
        self.cache: list[KeyValueCache] | None = model.new_cache()
        self.visible: Any = None
        """(B, places) booleans: where a place of the cache holds text; None where all do."""

    def read(self, tokens: Tokens, last: int = 1, padding: Tokens | None = None) -> Floats:
        B, T = tokens.shape
        if self.texts is None:
            self.texts = [tokens[i, :0] for i in range(B)]
        elif len(self.texts) == 1 < B:
            self.select(np.zeros(B, int))
        left = np.zeros(B, int) if padding is None else padding
        self.texts = [
            np.concatenate([text, row[n:]])
            for text, row, n in zip(self.texts, tokens, left, strict=True)
        ]
        places = T if self.cache is None else self.cache[0].length + T
        longest = max(map(len, self.texts), default=0)
        block_size = self.model.config.block_size
        if self.cache is None or places > block_size or not self.model.caches(longest):
            return self._read_anew(last, longest)
        return self._pass(tokens, last, padding)

    def _read_anew(self, last: int, longest: int) -> Floats:
        """The logits at the last positions, each from the last block that ends there."""
        assert self.texts is not None
        block_size, self.visible = self.model.config.block_size, None
        clipped = longest > block_size
        if not self.model.caches(longest) or (clipped and last > 1):
            self.cache = None  # of no use for the next token
            backs = range(last)[::-1]
            found = [self._alone(text[: len(text) - n]) for text in self.texts for n in backs]
            return np.stack(found).reshape(len(self.texts), last, -1)
        self.cache = self.model.new_cache()
        windows = filled([text[-block_size:] for text in self.texts])
        logits = self._pass(windows.tokens, last, windows.padding)
        if clipped:
            self.cache = None
        return logits

    def _alone(self, text: Tokens) -> Any:
        """The logits (V,) after a text, as the model gives them without a cache."""
        return self._logits(text[None, -self.model.config.block_size :], None, 1)[0, 0]

    def _pass(self, tokens: Tokens, last: int, padding: Tokens | None) -> Floats:
        """The logits at the last of the tokens (B, T), which follow what the cache holds."""
        assert self.cache is not None
        B, T = tokens.shape
        positions = mask = None
        if padding is not None or self.visible is not None:
            places = np.arange(T) if padding is None else np.arange(T) - padding[:, None]
            before = self.visible
            if before is None:
                before = np.ones((B, self.cache[0].length), bool)
            now = np.broadcast_to(places >= 0, (B, T))
            self.visible = np.concatenate([before, now], axis=1)
            counts = self.visible.cumsum(axis=1)[:, -T:] - 1
            positions = self.backend.asarray(np.maximum(counts, 0))  # (B, T)
            mask = self.backend.asarray(self.visible[:, None, None])  # (B, 1, 1, places)
        return self._logits(tokens, self.cache, last, positions=positions, mask=mask)

    def _logits(self, tokens: Tokens, cache: Any, last: int, **places: Any) -> Floats:
        """(B, last, V), by the twin on plain arrays where nobody looks on."""
        given = self.backend.asarray(tokens)
        if self.twin is not None and trace.active is None and not any(map(has_hooks, self.modules)):
            return np.asarray(self.twin.next_logits(given, cache, last, **places))
        with self.model.inference(self.modules):
            logits = self.model.next_logits(given, cache, last, **places)
        return np.asarray(as_numpy(logits))

    def rewind(self, n: int) -> None:
        if not n or self.texts is None:
            return
        self.texts = [text[: len(text) - n] for text in self.texts]
        if self.cache is not None and all(n <= layer.removable for layer in self.cache):
            for layer in self.cache:
                layer.rewind(n)
            if self.visible is not None:
                self.visible = self.visible[:, :-n]
        else:
            self.cache = None

    def select(self, rows: Tokens) -> None:
        if self.texts is None:
            return
        self.texts = [self.texts[i] for i in rows]
        places = self.backend.asarray(rows)
        for layer in self.cache or ():
            layer.select(places)
        if self.visible is not None:
            self.visible = self.visible[rows]

    def fork(self) -> CachedSession:
        other = copy.copy(self)
        if self.cache is not None:
            other.cache = [layer.fork() for layer in self.cache]
        return other
