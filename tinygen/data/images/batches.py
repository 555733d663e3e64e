"""Batches of images and of points, and the cursor that continues them after a break."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygen.arguments import integer
from tinygen.data.images.imageset import Images, ImageSet, Labels
from tinygen.errors import InputError
from tinygen.random import Generator

Batch = tuple[Images, Labels | None]


class ImageBatches:
    """An endless iterator of (images uint8 (batch, H, W, C), labels int64 (batch,) or None).

    Every epoch takes each image once, in an order of its own that depends on the seed and the
    epoch's number alone; a batch may reach from one epoch into the next, so all are of full size.
    With `replace` each image is instead drawn from all, with equal chance, every time. Give `rng`
    a stream of its own: `rng.spawn("batches")`. `state_dict` is all that is needed to continue.
    """

    def __init__(self, data: ImageSet, batch: int, rng: Generator, *, replace: bool = False):
        integer("the batch of images", batch, least=1)
        self.data = data
        self.batch = batch
        self.rng = rng
        self.replace = replace
        self.drawn = 0  # images so far
        self._order: tuple[int, NDArray[np.int64]] | None = None  # of the current epoch

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        index = self._drawn_index() if self.replace else self._epoch_index()
        self.drawn += self.batch
        labels = self.data.labels
        return self.data.images[index], None if labels is None else labels[index]

    @property
    def epoch(self) -> int:
        """How often every image has been seen."""
        return self.drawn // len(self.data)

    def _drawn_index(self) -> NDArray[np.int64]:
        index: NDArray[np.int64] = self.rng.integers(len(self.data), shape=self.batch)
        return index

    def _epoch_index(self) -> NDArray[np.int64]:
        """Positions drawn ... drawn + batch of all epochs, one after the other."""
        n, parts, first = len(self.data), [], self.drawn
        while first < self.drawn + self.batch:
            epoch, start = divmod(first, n)
            stop = min(n, start + self.drawn + self.batch - first)
            parts.append(self._permutation(epoch)[start:stop])
            first += stop - start
        return np.concatenate(parts)

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        if self._order is None or self._order[0] != epoch:
            order = self.rng.spawn(f"epoch {epoch}").permutation(len(self.data))
            self._order = epoch, order
        return self._order[1]

    def state_dict(self) -> dict[str, Any]:
        """The cursor, as JSON values."""
        return {"drawn": self.drawn, "rng": self.rng.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the batch that was last drawn before `state_dict`."""
        try:
            drawn, rng = int(state["drawn"]), state["rng"]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"not the state of ImageBatches: {state!r}") from error
        if drawn < 0:
            raise InputError(f"not the state of ImageBatches: {drawn} images drawn")
        self.rng.load_state_dict(rng)
        self.drawn = drawn
        self._order = None


class PointBatches:
    """An endless iterator of fresh draws from a set whose distribution is known.

    `sample(n, rng)` gives an array (n, ...): that of a planar set, or of a mixture.
    """

    def __init__(
        self, sample: Callable[[int, Generator], NDArray[Any]], batch: int, rng: Generator
    ):
        integer("the batch of points", batch, least=1)
        self.sample = sample
        self.batch = batch
        self.rng = rng

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return self

    def __next__(self) -> NDArray[Any]:
        return self.sample(self.batch, self.rng)

    def state_dict(self) -> dict[str, Any]:
        """The cursor, as JSON values: the position in the stream of random numbers."""
        return self.rng.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rng.load_state_dict(state)


def sequential_images(data: ImageSet, batch: int) -> Iterator[Batch]:
    """(images, labels) in the set's order, each image once; the last batch may be smaller."""
    integer("the batch of images", batch, least=1)
    for first in range(0, len(data), batch):
        part = slice(first, first + batch)
        yield data.images[part], None if data.labels is None else data.labels[part]
