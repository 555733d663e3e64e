"""Token batches: random windows to train on, and every target once to evaluate on."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygen.arguments import integer
from tinygen.errors import InputError, ShapeError
from tinygen.random import Generator

Tokens = NDArray[np.integer[Any]]
Windows = NDArray[np.int64]
Batch = tuple[Windows, Windows]
Change = Callable[[Windows, Generator], Windows]
"""Makes windows (batch, block + 1) others of their shape, at random."""


class TokenBatches:
    """An endless iterator of (inputs, targets), each (batch, block) int64.

    A window starts anywhere in the tokens (N,), or at one of the `starts` (S,), with equal chance;
    `change`, if any, is made to it, and its targets are its inputs one step later. All is drawn
    from `rng`: give it a stream of its own, `rng.spawn("batches")`, and the sequence of batches
    depends on the seed alone.
    `state_dict` is all that is needed to continue it. Raises InputError where the tokens are fewer
    than a window.
    """

    def __init__(
        self,
        tokens: Tokens,
        block: int,
        batch: int,
        rng: Generator,
        starts: Tokens | None = None,
        change: Change | None = None,
    ):
        _check(tokens, block, batch)
        if len(tokens) < block + 1:
            raise InputError(
                f"{len(tokens)} tokens are too few for a window of {block} and its targets "
                f"({block + 1} tokens); give a longer text or a block of at most "
                f"{max(len(tokens) - 1, 0)}"
            )
        self.tokens = tokens
        self.block = block
        self.batch = batch
        self.rng = rng
        self.change = change
        self._window = np.arange(block + 1)
        self._starts = None
        if starts is not None:
            self._starts = starts[starts < len(tokens) - block]
            if not len(self._starts):
                raise InputError(
                    f"no window of {block} tokens begins at a place where one may begin; give a "
                    "longer text or a smaller block"
                )

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        places = len(self.tokens) - self.block if self._starts is None else len(self._starts)
        starts = self.rng.integers(0, places, (self.batch, 1))
        if self._starts is not None:
            starts = self._starts[starts]
        windows = self.tokens[starts + self._window].astype(np.int64)  # (batch, block + 1)
        if self.change is not None:
            windows = self.change(windows, self.rng)
        return windows[:, :-1].copy(), windows[:, 1:].copy()

    def state_dict(self) -> dict[str, Any]:
        """The cursor, as JSON values: the position in the stream of starts."""
        return self.rng.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the batch that was last drawn before `state_dict`."""
        self.rng.load_state_dict(state)


def sequential_blocks(tokens: Tokens, block: int, batch: int) -> Iterator[Batch]:
    """(inputs, targets), each (B, T) int64, that have every token but the first as target once.

    B <= batch, and T = block but for what remains at the end, which comes alone as (1, T): weight
    each batch by its targets, or the mean is wrong. The first target of a block is predicted from
    one token only. Raises InputError where there is no target.
    """
    _check(tokens, block, batch)
    if len(tokens) < 2:
        raise InputError(f"{len(tokens)} tokens hold no target to evaluate; two are needed")
    return _blocks(tokens, block, batch)


def _blocks(tokens: Tokens, block: int, batch: int) -> Iterator[Batch]:
    whole = (len(tokens) - 1) // block  # blocks of full length
    for first in range(0, whole, batch):
        start, stop = first * block, min(first + batch, whole) * block
        yield _pair(tokens[start : stop + 1], block)
    if whole * block < len(tokens) - 1:
        remainder = tokens[whole * block :]
        yield _pair(remainder, len(remainder) - 1)


def _pair(tokens: Tokens, block: int) -> Batch:
    """Tokens (B block + 1,) as inputs and targets (B, block)."""
    wide = tokens.astype(np.int64)
    return wide[:-1].reshape(-1, block), wide[1:].reshape(-1, block)


def _check(tokens: Tokens, block: int, batch: int) -> None:
    if tokens.ndim != 1:
        raise ShapeError(f"tokens of shape {tokens.shape}: one sequence is needed, shape (N,)")
    integer("the block of tokens", block, least=1)
    integer("the batch", batch, least=1)
