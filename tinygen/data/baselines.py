"""What counting alone achieves: the losses that a model has to beat to have learned anything."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygen.errors import InputError, OutOfRangeError, ShapeError, UsageError

Tokens = NDArray[np.integer[Any]]


def unigram_nats(
    train_tokens: Tokens, val_tokens: Tokens, vocab_size: int, alpha: float = 1.0
) -> float:
    """Held-out cross-entropy in nats a token of p(b) = (c(b) + alpha) / (N + alpha V)."""
    _check(train_tokens, val_tokens, vocab_size, alpha)
    counts = np.bincount(train_tokens, minlength=vocab_size)  # (V,)
    log_p = np.log(counts + alpha) - math.log(len(train_tokens) + alpha * vocab_size)
    return -float(log_p[val_tokens].mean())


def bigram_nats(
    train_tokens: Tokens, val_tokens: Tokens, vocab_size: int, alpha: float = 1.0
) -> float:
    """Held-out cross-entropy in nats a token of p(b | a) = (c(a, b) + alpha) / (c(a) + alpha V).

    The mean is over every token but the first, the targets of `sequential_blocks`. Only the pairs
    that occur are counted, by sorting: memory is O(N), not O(V^2).
    """
    _check(train_tokens, val_tokens, vocab_size, alpha)
    pairs, pair_counts = np.unique(_pairs(train_tokens, vocab_size), return_counts=True)
    context_counts = np.bincount(train_tokens[:-1], minlength=vocab_size)  # (V,)
    val_pairs, weights = np.unique(_pairs(val_tokens, vocab_size), return_counts=True)  # (P,)
    place = np.minimum(np.searchsorted(pairs, val_pairs), len(pairs) - 1)
    seen = np.where(pairs[place] == val_pairs, pair_counts[place], 0)  # c(a, b)
    log_p = np.log(seen + alpha) - np.log(
        context_counts[val_pairs // vocab_size] + alpha * vocab_size
    )
    return -float(np.average(log_p, weights=weights))


def _pairs(tokens: Tokens, vocab_size: int) -> NDArray[np.int64]:
    """(N - 1,) one number a V + b for each two neighbours."""
    wide = tokens.astype(np.int64)
    return wide[:-1] * vocab_size + wide[1:]


def _check(train_tokens: Tokens, val_tokens: Tokens, vocab_size: int, alpha: float) -> None:
    if not alpha > 0.0:
        raise UsageError(f"alpha {alpha}: without a positive one an unseen token costs infinity")
    for side, tokens in (("training", train_tokens), ("validation", val_tokens)):
        if tokens.ndim != 1:
            raise ShapeError(f"{side} tokens of shape {tokens.shape}: shape (N,) is needed")
        if len(tokens) < 2:
            raise InputError(f"{len(tokens)} {side} tokens: at least two are needed")
        if tokens.min() < 0 or tokens.max() >= vocab_size:
            raise OutOfRangeError(
                f"{side} tokens run from {tokens.min()} to {tokens.max()}, outside the vocabulary "
                f"0 ... {vocab_size - 1}"
            )
