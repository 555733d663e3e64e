"""The ladders: for each operation its rungs, as functions that run one on a device.

Sizes are small for the simulator, which needs a second for what a GPU does in a microsecond, and
those of a GPT-2 layer on a GPU. Both are whole tiles, so that counts say what a rung costs and not
what its edges do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen.backend.device.matmul import matmul
from tinygen.backend.device.matmul_rungs import RUNGS
from tinygen.backend.launch import Kernel, launch
from tinygen.errors import UsageError

Array = Any
Run = Callable[[], Any]


@dataclass(frozen=True)
class Rung:
    """One rung of an operation on one device, with its work."""

    operation: str
    name: str
    size: str
    run: Run
    """Returns its results, arrays of the device."""
    flops: float
    least_bytes: float
    """What has to be read and written if nothing is read twice."""


def ladder(operation: str, backend: Any) -> list[Rung]:
    """The rungs of an operation, from the bottom. Raises UsageError."""
    if operation not in LADDERS:
        raise UsageError(f"there is no ladder of {operation!r}; there are {', '.join(LADDERS)}.")
    return list(LADDERS[operation](backend))


def _random(backend: Any, *shape: int, dtype: str = "float32") -> Array:
    return backend.asarray(np.random.default_rng(0).standard_normal(shape).astype(dtype))


def _small(backend: Any) -> bool:
    return bool(backend.name == "sim")


def _matmul(backend: Any) -> Iterator[Rung]:
    M, N, K = (256, 256, 256) if _small(backend) else (4096, 3072, 768)
    for name, rung in RUNGS.items():
        dtype = "float16" if rung.bits == 16 else "float32"
        x, w = _random(backend, M, K, dtype=dtype), _random(backend, N, K, dtype=dtype)

        def run(x: Array = x, w: Array = w, name: str = name) -> Any:
            return matmul(backend, x, w.T, rung=name, splits=1)

        least = x.itemsize * (M * K + N * K + M * N)
        size = f"{M} x {N} x {K} {dtype}, forward"
        yield Rung("matmul", name, size, run, 2.0 * M * N * K, least)


def _attention(backend: Any, *, backward: bool = False) -> Iterator[Rung]:
    B, H, T, D = (1, 2, 256, 64) if _small(backend) else (8, 12, 1024, 64)
    operation = "attention-backward" if backward else "attention"
    for name in ("tiled", "mma") if backward else ("naive", "tiled", "mma"):
        dtype = "float16" if name == "mma" else "float32"
        q, k, v, g = (_random(backend, B, H, T, D, dtype=dtype) for _ in range(4))

        def forward(q: Array = q, k: Array = k, v: Array = v, name: str = name) -> Any:
            with _rung(backend, "attention", name):
                return backend.attention_forward(q, k, v, causal=True)

        run: Run = forward
        if backward:
            out, lse = forward()

            def back(arrays: tuple[Array, ...] = (g, q, k, v, out, lse), name: str = name) -> Any:
                with _rung(backend, "attention", name):
                    return backend.attention_backward(*arrays, causal=True)

            run = back
        products = 5 if backward else 2  # without what is computed again
        flops = products * 2.0 * B * H * T * T * D / 2
        least = q.itemsize * q.size * (8 if backward else 4)
        size = f"{B} x {H} heads x {T} x {D} {dtype}, causal"
        yield Rung(operation, name, size, run, flops, least)


@contextmanager
def _rung(backend: Any, operation: str, name: str) -> Iterator[None]:
    """Inside, `operation` takes the rung `name`."""
    before = dict(backend.rungs)
    backend.rungs[operation] = name
    try:
        yield
    finally:
        backend.rungs.clear()
        backend.rungs.update(before)


def _layer_norm(backend: Any) -> Iterator[Rung]:
    rows, columns = (128, 768) if _small(backend) else (8192, 768)
    x, weight, bias = (
        _random(backend, *shape) for shape in ((rows, columns), (columns,), (columns,))
    )
    y = backend.empty((rows, columns), "float32")
    stats = [backend.empty((rows,), "float32") for _ in range(2)]
    fixed = {"TYPE": "float", "COLUMNS": columns, "THREADS": 64, "VECTOR": 4}
    kernel = Kernel("norm.cu", "layer_norm_naive", **fixed)
    sizes = [np.int32(rows), np.int32(columns), np.float32(1e-5)]

    def naive() -> Any:
        launch(backend, kernel, (-(-rows // 32),), (32,), [y, *stats, x, weight, bias, *sizes])
        return y, *stats

    size = f"{rows} x {columns} float32"
    work = (8.0 * rows * columns, 2.0 * 4 * rows * columns)
    yield Rung("layer-norm", "naive", size, naive, *work)

    def registers() -> Any:
        return backend.layer_norm_forward(x, weight, bias, 1e-5)

    yield Rung("layer-norm", "registers", size, registers, *work)


def _softmax(backend: Any) -> Iterator[Rung]:
    rows, columns = (128, 1024) if _small(backend) else (8192, 1024)
    x, y = _random(backend, rows, columns), backend.empty((rows, columns), "float32")
    fixed = {"TYPE": "float", "COLUMNS": columns, "THREADS": 64, "VECTOR": 4}
    kernel = Kernel("softmax.cu", "softmax_naive", **fixed)

    def naive() -> Any:
        sizes = [np.int32(rows), np.int32(columns)]
        launch(backend, kernel, (-(-rows // 32),), (32,), [y, x, *sizes])
        return y

    size = f"{rows} x {columns} float32"
    work = (5.0 * rows * columns, 2.0 * 4 * rows * columns)
    yield Rung("softmax", "naive", size, naive, *work)
    yield Rung("softmax", "registers", size, lambda: backend.softmax(x, -1), *work)


LADDERS: dict[str, Callable[[Any], Iterator[Rung]]] = {
    "matmul": _matmul,
    "attention": _attention,
    "attention-backward": lambda backend: _attention(backend, backward=True),
    "layer-norm": _layer_norm,
    "softmax": _softmax,
}
