"""What generation starts from: a batch of prompts, of one length or of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygen.decoding.sampler import Tokens
from tinygen.errors import DtypeError, OutOfRangeError, ShapeError
from tinygen.tensor import as_numpy

Value = Any


class Prompts(NamedTuple):
    """Prompts as one array: shorter ones are filled up at their left, so that all end together."""

    tokens: Tokens
    """(B, T); 0 where nothing is."""
    padding: Tokens | None
    """(B,): how many places of each row are filling; None where none are."""

    @property
    def rows(self) -> list[Tokens]:
        """Each prompt by itself."""
        left = [0] * len(self.tokens) if self.padding is None else self.padding
        return [row[n:] for row, n in zip(self.tokens, left, strict=True)]


def as_prompts(given: Value, vocab_size: int) -> Prompts:
    """Integers (B, T) as an array or Tensor, or a sequence of arrays (T,) of different lengths.

    Raises DtypeError, ShapeError, and OutOfRangeError for what is no token.
    """
    if isinstance(given, Sequence) and given and all(hasattr(row, "dtype") for row in given):
        rows = [_integers(row, 1) for row in given]
        empty = [i for i, row in enumerate(rows) if not len(row)]
        if empty:
            raise ShapeError(
                f"prompt {empty[0]} is empty: generate needs one token or more to continue from."
            )
        prompts = filled(rows)
    else:
        prompts = Prompts(_integers(given, 2), None)
    tokens = prompts.tokens
    if not tokens.shape[1]:
        raise ShapeError("generate needs a prompt of one token or more to continue from.")
    wrong = tokens[(tokens < 0) | (tokens >= vocab_size)]
    if wrong.size:
        raise OutOfRangeError(
            f"the prompt holds the token {wrong[0]}, and the model knows 0 ... {vocab_size - 1}; "
            "encode the text with the model's own tokenizer."
        )
    return prompts


def filled(rows: Sequence[Tokens]) -> Prompts:
    """Texts (T,) of any lengths as `Prompts`."""
    longest = max(map(len, rows), default=0)
    tokens = np.zeros((len(rows), longest), np.int64)
    for target, row in zip(tokens, rows, strict=True):
        target[longest - len(row) :] = row
    padding = np.array([longest - len(row) for row in rows], np.int64)
    return Prompts(tokens, padding if padding.any() else None)


def _integers(tokens: Value, axes: int) -> Tokens:
    if getattr(getattr(tokens, "dtype", None), "kind", None) not in ("i", "u"):
        raise DtypeError(
            "tokens are an array of integers, not "
            f"{getattr(tokens, 'dtype', type(tokens).__name__)}; encode the text first."
        )
    if tokens.ndim != axes:
        raise ShapeError(
            f"tokens have shape {tokens.shape}, and a prompt is (T,) in a list, or a row of "
            "(B, T); for one sequence give tokens[None]."
        )
    return np.asarray(as_numpy(tokens), np.int64)
