"""Random numbers by kernels/random.cu: those that the CPU draws at the same place of a stream."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.backend.device.launching import blocks
from tinygen.backend.device.registry import serves
from tinygen.backend.device.rungs import rung_of
from tinygen.backend.launch import Kernel, launch

Array = Any

THREADS = 256


@serves("random_uniform")
def random_uniform(
    backend: Any, key: int, block: int, n: int, low: float, span: float, least: Any, most: Any
) -> Array:
    """n numbers low + span u, rounded to float32 and brought into [least, most]."""
    out = backend.empty((n,), np.float32)
    args = [out, stream_state(backend, key, block), np.int64(n)]
    args += [np.float32(value) for value in (low, span, least, most)]
    _launch(backend, "random_uniform", n, 8, args)
    return out


@serves("random_normal")
def random_normal(backend: Any, key: int, block: int, n: int) -> Array:
    """n standard normal float32 numbers."""
    out = backend.empty((n,), np.float32)
    _launch(backend, "random_normal", n, 16, [out, stream_state(backend, key, block), np.int64(n)])
    return out


def _launch(backend: Any, name: str, n: int, each: int, args: list[Any]) -> None:
    """n numbers, `each` a thread."""
    if rung_of(backend, "random") == "naive":
        name, each = f"{name}_naive", 1
    launch(backend, Kernel("random.cu", name), (blocks(n, each * THREADS),), (THREADS,), args)


def stream_state(backend: Any, key: int, block: int) -> Array:
    """philox_state of philox.cuh: words of 64 bits, the lowest first."""
    words = [key >> 64 * i for i in range(2)] + [block >> 64 * i for i in range(4)]
    return backend.asarray(np.array([word % 2**64 for word in words], np.uint64))
