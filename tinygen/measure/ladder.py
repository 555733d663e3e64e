"""What a ladder is made of: rungs, and numbers for them to work on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any


@dataclass(frozen=True)
class Rung:
    """One rung of an operation on one device, with its work."""

    operation: str
    name: str
    size: str
    run: Callable[[], Any]
    """Returns its results, arrays of the device."""
    flops: float
    least_bytes: float
    """What has to be read and written if nothing is read twice."""


def random_array(backend: Any, *shape: int, dtype: str = "float32") -> Array:
    drawn = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    return own_copy(backend, backend.asarray(drawn))


def own_copy(backend: Any, x: Array) -> Array:
    """x where the device allocates: at the beginning of a sector."""
    copy = backend.empty(x.shape, x.dtype)
    copy[...] = x
    return copy


def is_small(backend: Any) -> bool:
    """Whether sizes should be those of the simulator."""
    return bool(backend.name == "sim")


@contextmanager
def taking(backend: Any, operation: str, name: str) -> Iterator[None]:
    """Inside, `operation` takes the rung `name`."""
    before = dict(backend.rungs)
    backend.rungs[operation] = name
    try:
        yield
    finally:
        backend.rungs.clear()
        backend.rungs.update(before)
