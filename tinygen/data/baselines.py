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


def independent_pixels_nats(
    train: NDArray[Any], held_out: NDArray[Any], levels: int, alpha: float = 1.0
) -> float:
    """Held-out cross-entropy in nats an image, where every pixel has a distribution of its own over
    its levels: p_d(k) = (c_d(k) + alpha) / (N + alpha levels).

    train and held_out (N, ...) are whole numbers in 0 ... levels - 1.
    """
    if not alpha > 0.0:
        raise UsageError(f"alpha {alpha}: without a positive one an unseen level costs infinity")
    flat, seen = (np.asarray(x).reshape(len(x), -1).astype(np.int64) for x in (train, held_out))
    if flat.shape[1] != seen.shape[1]:
        raise ShapeError(f"images of {flat.shape[1]} and of {seen.shape[1]} pixels: equally many")
    for x in (flat, seen):
        if x.size and not 0 <= x.min() <= x.max() < levels:
            raise OutOfRangeError(
                f"pixels run from {x.min()} to {x.max()}, outside the levels 0 ... {levels - 1}"
            )
    n, d = flat.shape
    place = np.arange(d) * levels
    counts = np.bincount((flat + place).ravel(), minlength=d * levels).reshape(d, levels)
    log_p = np.log(counts + alpha) - math.log(n + alpha * levels)
    return -float(log_p.ravel()[seen + place].sum(axis=1).mean())


def gaussian_pixels_nats(train: NDArray[Any], held_out: NDArray[Any]) -> float:
    """Held-out cross-entropy in nats an image of pixels that are independent normal numbers, each
    with its own mean and all with one variance. train and held_out (N, ...) are floats."""
    mean = train.mean(axis=0, dtype=np.float64)
    variance = max(float(((train - mean) ** 2).mean()), 1e-12)
    squares = ((held_out - mean) ** 2).reshape(len(held_out), -1)
    nats = 0.5 * (squares / variance + math.log(2 * math.pi * variance))
    return float(nats.sum(axis=1).mean())
