"""Parameters laid end to end in one array, so that an optimiser walks memory once, in order."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from tinygen.backend import Array, backend_of
from tinygen.errors import ShapeError, UsageError
from tinygen.tensor import Tensor

BLOCK = 65536
"""Elements updated at a time: parameter, gradient, moments and a temporary stay in the cache."""

CACHE_LINE = 64
"""Elements between the places where a large parameter may begin: a cache line of bytes or more."""


class FlatParameters:
    """Parameters of one dtype in one flat array, with their moments beside it.

    `data` of each parameter becomes a view into `data` here, of the same shape: an update of the
    flat array in place is an update of the parameter.
    """

    def __init__(self, parameters: Sequence[Tensor], moments: Sequence[str]) -> None:
        backend = backend_of([p.data for p in parameters])
        self._piece = BLOCK if backend.caches else None  # of a large parameter, at a time
        dtype = parameters[0].dtype
        self.parameters = list(parameters)
        self.places: list[slice] = []
        stop = 0
        for parameter in parameters:  # a large one begins where a cache line may
            start = stop if parameter.size <= BLOCK else -(-stop // CACHE_LINE) * CACHE_LINE
            stop = start + parameter.size
            self.places.append(slice(start, stop))
        self.data = backend.empty((stop,), dtype)
        self.moments = {name: backend.empty((stop,), dtype) for name in moments}
        for moment in self.moments.values():
            moment[...] = 0
        self.steps = [0] * len(parameters)  # updates that each parameter has had
        self.scratch = backend.empty((min(BLOCK, stop),), dtype)  # for the update
        self._gathered = backend.empty((min(BLOCK, stop),), dtype)
        self._views: list[Array] = [
            self.data[place].reshape(parameter.shape)
            for place, parameter in zip(self.places, parameters, strict=True)
        ]
        self.claim()

    def __deepcopy__(self, memo: dict[int, Any]) -> FlatParameters:
        # Views do not survive a deep copy, so the copied parameters are laid out afresh.
        twin = FlatParameters(copy.deepcopy(self.parameters, memo), tuple(self.moments))
        twin.steps = list(self.steps)
        for name, moment in self.moments.items():
            twin.moments[name][...] = moment
        return twin

    def keep(self, moments: tuple[str, ...]) -> None:
        """Have the moments of these names and no others: a new one is 0, as at first."""
        if tuple(self.moments) != moments:
            xp, old = backend_of([self.data]).xp, self.moments
            self.moments = {
                name: old[name] if name in old else xp.zeros_like(self.data) for name in moments
            }

    def claim(self) -> None:
        """Move in every parameter whose array is not ours: at first, or after `p.data = array`."""
        for parameter, view in zip(self.parameters, self._views, strict=True):
            if parameter.data is not view:
                if (parameter.shape, parameter.dtype) != (view.shape, view.dtype):
                    raise UsageError(
                        f"a parameter that was {view.dtype}{list(view.shape)} when the optimiser "
                        f"took it is now {parameter.dtype}{list(parameter.shape)}. Convert the "
                        "model first (module.to), then make the optimiser."
                    )
                view[...] = parameter.data
                parameter.data = view

    def updates(self) -> list[tuple[int, Array]]:
        """(index, gradient) of each parameter that has one; their steps and versions move on."""
        self.claim()
        found = [(i, p.grad.data) for i, p in enumerate(self.parameters) if p.grad is not None]
        for i, grad in found:
            p = self.parameters[i]
            if (grad.shape, grad.dtype) != (p.shape, p.dtype):
                raise ShapeError(
                    f"a parameter that is {p.dtype}{list(p.shape)} has a .grad that is "
                    f"{grad.dtype}{list(grad.shape)}; set it to one of its own form, or to None."
                )
        for i, _ in found:
            self.steps[i] += 1
            self.parameters[i].version += 1
        return found

    def blocks(self) -> Iterator[tuple[int, slice, Array]]:
        """The same in pieces for elementwise updates: (step, place in the flat arrays, flat
        gradient). Where a cache is to hold them, none has more than BLOCK elements.

        A large gradient is used where it lies; small neighbours are gathered in a scratch block,
        so there is no flat copy of all gradients. The gradient is read-only to the caller.
        """
        step, start, stop = 0, 0, 0  # what has been gathered and not yet given out
        for i, grad in self.updates():
            place = self.places[i]
            joins = place.start == stop and self.steps[i] == step and place.stop - start <= BLOCK
            if not joins:
                if start < stop:
                    yield step, slice(start, stop), self._gathered[: stop - start]
                step, start, stop = self.steps[i], place.start, place.start
            if grad.size > BLOCK:
                flat = grad.reshape(-1)
                piece = self._piece or grad.size
                for low in range(0, grad.size, piece):
                    high = min(low + piece, grad.size)
                    yield step, slice(start + low, start + high), flat[low:high]
                start = stop = place.stop
            else:
                self._gathered[stop - start : place.stop - start].reshape(grad.shape)[...] = grad
                stop = place.stop
        if start < stop:
            yield step, slice(start, stop), self._gathered[: stop - start]
