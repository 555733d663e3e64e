"""Masked diffusion for text (MDLM: Sahoo et al. 2024, "Simple and effective masked diffusion
language models"; MD4: Shi et al. 2024, "Simplified and generalized masked diffusion").

    the cat sat down ──▶ the ▢ sat down ──▶ the ▢ ▢ down ──▶ ▢ ▢ ▢ ▢      forward, t from 0 to 1
    the cat sat down ◀── the ▢ sat down ◀── the ▢ ▢ down ◀── ▢ ▢ ▢ ▢      backward: guess and keep

At time t each token has become the mask with probability t, by itself, and stays it. A network sees
the rest, from both sides, and guesses what stood under the masks. With SUBS (Sahoo et al. 2024,
section 3.2.3) it never guesses the mask itself, and what is seen is kept, so that the bound on
-log p(tokens), in continuous time, is a weighted cross-entropy (their eq. 11):

    NELBO = integral over t from 0 to 1 of  E[ sum over masked i of -log p(token_i | seen) ] / t

which is the mean of -log p over all orders in which the tokens could be guessed one by one: for a
network that knows the true conditionals it is -log p(tokens) itself, with no gap. Another speed of
masking would be another t for the same masks and the same bound, so there is only this one.

B batch, T positions, V vocabulary; the mask is token V.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tinygen import nn, ops
from tinygen.arguments import number, numbers
from tinygen.backend import Array, backend_of
from tinygen.errors import OutOfRangeError, ShapeError, UsageError
from tinygen.function import Value
from tinygen.models.checks import require_examples, require_tokens
from tinygen.models.diffusion.levels import Floats, Level, as_floats, per_example
from tinygen.nn.sizes import require_sizes
from tinygen.random import Generator
from tinygen.tensor import as_numpy, device_of, plain

Tokens = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class MaskedConfig:
    """The sizes of a `MaskedTransformer`."""

    vocab_size: int
    length: int
    n_layer: int
    n_head: int
    width: int
    dropout: float = 0.0

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "length", "n_layer", "n_head", "width")
        require_sizes("MaskedConfig", **{name: getattr(self, name) for name in sizes})


class MaskedTransformer(nn.Module):
    """tokens (B, T), integers 0 ... V with V the mask, T at most `length` -> logits (B, T, V).

    A transformer in which every position sees every other. It is not told the time: how much is
    masked can be seen, and the best guess under a mask does not depend on t.
    """

    def __init__(self, config: MaskedConfig, *, rng: Generator) -> None:
        c = self.config = config
        self.token_embedding = nn.Embedding(c.vocab_size + 1, c.width, rng=rng)
        self.position_embedding = nn.Embedding(c.length, c.width, rng=rng)
        self.blocks = [
            nn.TransformerBlock(c.width, c.n_head, dropout=c.dropout, rng=rng)
            for _ in range(c.n_layer)
        ]
        self.norm = nn.LayerNorm(c.width)
        self.head = nn.Linear(c.width, c.vocab_size, rng=rng)
        for table in (self.token_embedding, self.position_embedding):
            table.weight.data *= 0.02

    def forward(self, tokens: Value) -> Any:
        T = tokens.shape[1]
        if self.config.length < T:
            raise ShapeError(
                f"{T} positions are more than the model's length {self.config.length}; give it at "
                f"most {self.config.length}."
            )
        x = self.token_embedding(tokens) + self.position_embedding.weight[:T]  # (B, T, C)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))  # (B, T, C) -> (B, T, V)


class MaskedStep(NamedTuple):
    """A sampler's state after one step; unpacks as (step, t, tokens)."""

    step: int
    t: float
    """The time that was reached, and the share of tokens still masked on average."""
    tokens: Tokens
    """(B, T), the mask where nothing is guessed yet."""


class MaskedDiffusion(nn.Module):
    """A network (B, T) -> logits (B, T, V) as a model of text. `loss(tokens, rng=rng)` is nats a
    token, `nelbo` nats a sequence, and `sample` yields texts that become clear step by step."""

    def __init__(self, network: nn.Module, vocab_size: int) -> None:
        require_sizes("MaskedDiffusion", vocab_size=vocab_size)
        self.network, self.mask = network, vocab_size

    # ---- training

    def loss(
        self,
        tokens: Value,
        *,
        rng: Generator | None = None,
        t: Level = None,
        uniform: Value = None,
    ) -> Any:
        """An unbiased estimate of the NELBO per token, in nats, the mean over tokens (B, T).

        t (B,) in (0, 1] is drawn where not given, spread evenly over the batch from one random
        start, which lowers the variance (Kingma et al. 2021, "Variational diffusion models",
        appendix I.1). A token is masked where its `uniform` (B, T) number is below t.
        """
        self._require_tokens(tokens, self.mask)
        require_examples(tokens)
        return ops.mean(self.losses(tokens, rng=rng, t=t, uniform=uniform))

    def nelbo(self, tokens: Value, *, rng: Generator, samples: int = 1) -> Floats:
        """The bound on -log p of each sequence of tokens (B, T), in nats, (B,): an unbiased
        estimate from `samples` passes, in eval mode and without a graph."""
        require_sizes("nelbo", samples=samples)
        total = np.zeros(len(tokens))
        with self.inference():
            for _ in range(samples):
                losses = as_numpy(self.losses(tokens, rng=rng))
                total += losses.sum(axis=1, dtype=np.float64)
        return total / samples

    def losses(
        self,
        tokens: Value,
        *,
        rng: Generator | None = None,
        t: Level = None,
        uniform: Value = None,
    ) -> Any:
        """What each token (B, T) contributes: -log p(token | seen) / t where masked, else 0."""
        self._require_tokens(tokens, self.mask)
        if rng is None and (t is None or uniform is None):
            raise UsageError("masking draws: give the generator (rng=...), or t=... and uniform=.")
        B, T = tokens.shape
        if t is None and rng is not None:
            t = 1 - (rng.uniform((), dtype="float64") + np.arange(B) / B) % 1  # in (0, 1]
        if uniform is None and rng is not None:
            uniform = rng.uniform((B, T), dtype="float64", device=device_of(tokens))
        times = as_floats(t)
        if not np.all((times > 0) & (times <= 1)):
            raise UsageError(f"the times of masking lie in (0, 1], and these are {t}.")
        masked = uniform < per_example(times, uniform)  # (B, T)
        seen = ops.where(masked, ops.full_like(tokens, self.mask), tokens)
        losses = ops.cross_entropy(self.network(seen), tokens, reduction="none")  # (B, T)
        return losses * ops.astype(masked, losses.dtype) * per_example(1 / times, losses)

    # ---- sampling

    def probabilities(self, tokens: Value, temperature: float = 1.0) -> Floats:
        """p(token | what is seen), (B, T, V) float64: the network's guess under each mask, its
        logits divided by `temperature`, and certainty where a token is seen (SUBS)."""
        number("temperature", temperature, above=0)
        self._require_tokens(tokens, self.mask + 1)
        with self.inference():
            logits = as_numpy(self.network(tokens)).astype(np.float64) / temperature
        probs = np.exp(logits - logits.max(axis=-1, keepdims=True))
        probs /= probs.sum(axis=-1, keepdims=True)
        tokens = as_numpy(tokens)
        certain = np.eye(self.mask + 1, self.mask)[tokens]
        return np.where((tokens == self.mask)[..., None], probs, certain)

    def sample(
        self,
        tokens: Value,
        times: Sequence[float] | int,
        *,
        temperature: float = 1.0,
        rng: Generator,
    ) -> Iterator[MaskedStep]:
        """Fills the masks among tokens (B, T), all at first or only some: those that are seen are
        kept, whether they are a prompt, an ending or words in between.

        `times` fall strictly from 1 to 0; n stands for n even steps. In the step from t to s each
        masked token is guessed with probability (t - s) / t (Sahoo et al. 2024, eq. 6), those of
        one step independently of each other: with so many steps that they are guessed one by one
        this is exact, fewer trade that for speed. Yields a `MaskedStep` (step, t, tokens) each.
        """
        self._require_tokens(tokens, self.mask + 1)
        if isinstance(times, (int, np.integer)):
            require_sizes("sample", times=times)
            times = [1 - i / times for i in range(times + 1)]
        times = numbers("sample: times", times)
        falling = all(high > low for high, low in itertools.pairwise(times))
        if len(times) < 2 or not falling or (times[0], times[-1]) != (1, 0):
            raise UsageError(f"times fall strictly from 1 to 0 in one step or more, not {times}.")
        number("temperature", temperature, above=0)
        return self._sample(plain(tokens), times, temperature, rng)

    def _sample(
        self, given: Array, times: Sequence[float], temperature: float, rng: Generator
    ) -> Iterator[MaskedStep]:
        backend, tokens = backend_of([given]), np.array(as_numpy(given))
        for step, (t, s) in enumerate(itertools.pairwise(times)):
            chosen = rng.uniform(tokens.shape, dtype="float64") * t < t - s
            u = rng.uniform((*tokens.shape, 1), dtype="float64")
            guessed = chosen & (tokens == self.mask)
            rows = guessed.any(axis=1)  # the others need no network
            if rows.any():
                seen = backend.asarray(tokens[rows])
                probs = self.probabilities(seen, temperature)  # (rows, T, V)
                cumulative = np.cumsum(probs, axis=-1)
                drawn = (cumulative <= u[rows] * cumulative[..., -1:]).sum(axis=-1)
                tokens = tokens.copy()
                tokens[rows] = np.where(guessed[rows], drawn, tokens[rows])
            yield MaskedStep(step, s, tokens)

    def _require_tokens(self, tokens: Value, below: int) -> None:
        require_tokens(tokens)
        values = as_numpy(tokens)
        if values.size and not 0 <= values.min() <= values.max() < below:
            raise OutOfRangeError(
                f"tokens from {values.min()} to {values.max()} do not lie in 0 ... {below - 1}; "
                f"the vocabulary has {self.mask}, and the mask is token {self.mask}."
            )
