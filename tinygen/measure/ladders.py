"""The ladders: for each operation its rungs, as functions that run one on a device.

Sizes are small for the simulator, which needs a second for what a GPU does in a microsecond, and
those of a GPT-2 layer on a GPU. Both are whole tiles, so that counts say what a rung costs and not
what its edges do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tinygen.backend.device.matmul import matmul
from tinygen.backend.device.matmul_rungs import RUNGS
from tinygen.errors import UsageError
from tinygen.measure.ladder import Rung, is_small, random_array, taking
from tinygen.measure.memory_ladders import MEMORY_LADDERS

Array = Any


def ladder(operation: str, backend: Any) -> list[Rung]:
    """The rungs of an operation, from the bottom. Raises UsageError."""
    if operation not in LADDERS:
        raise UsageError(f"there is no ladder of {operation!r}; there are {', '.join(LADDERS)}.")
    return list(LADDERS[operation](backend))


def _matmul(backend: Any) -> Iterator[Rung]:
    M, N, K = (256, 256, 256) if is_small(backend) else (4096, 3072, 768)
    for name, rung in RUNGS.items():
        dtype = "float16" if rung.bits == 16 else "float32"
        x, w = random_array(backend, M, K, dtype=dtype), random_array(backend, N, K, dtype=dtype)

        def run(x: Array = x, w: Array = w, name: str = name) -> Any:
            return matmul(backend, x, w.T, rung=name, splits=1)

        least = x.itemsize * (M * K + N * K + M * N)
        size = f"{M} x {N} x {K} {dtype}, forward"
        yield Rung("matmul", name, size, run, 2.0 * M * N * K, least)


def _attention(backend: Any, *, backward: bool = False) -> Iterator[Rung]:
    B, H, T, D = (1, 2, 256, 64) if is_small(backend) else (8, 12, 1024, 64)
    operation = "attention-backward" if backward else "attention"
    for name in ("tiled", "mma") if backward else ("naive", "tiled", "mma", "wgmma"):
        dtype = "float16" if name in ("mma", "wgmma") else "float32"
        q, k, v, g = (random_array(backend, B, H, T, D, dtype=dtype) for _ in range(4))

        def forward(q: Array = q, k: Array = k, v: Array = v, name: str = name) -> Any:
            with taking(backend, "attention", name):
                return backend.attention_forward(q, k, v, causal=True)

        run: Callable[[], Any] = forward
        if backward:
            out, lse = forward()

            def back(arrays: tuple[Array, ...] = (g, q, k, v, out, lse), name: str = name) -> Any:
                with taking(backend, "attention", name):
                    return backend.attention_backward(*arrays, causal=True)

            run = back
        products = 5 if backward else 2  # without what is computed again
        flops = products * 2.0 * B * H * T * T * D / 2
        least = q.itemsize * q.size * (8 if backward else 4)
        size = f"{B} x {H} heads x {T} x {D} {dtype}, causal"
        yield Rung(operation, name, size, run, flops, least)


def _decoding(backend: Any) -> Iterator[Rung]:
    """One query of each head against many keys, four heads to a key head."""
    B, H, kv, T, D = (1, 4, 1, 1024, 64) if is_small(backend) else (8, 32, 8, 8192, 128)
    q = random_array(backend, B, H, 1, D, dtype="float16")
    k, v = (random_array(backend, B, kv, T, D, dtype="float16") for _ in range(2))
    for name in ("tiled", "mma", "decode"):

        def run(name: str = name) -> Any:
            with taking(backend, "attention", name):
                return backend.attention_forward(q, k, v, causal=True)

        size = f"{B} x {H} heads on {kv}, 1 query, {T} keys x {D} float16"
        yield Rung("attention-decode", name, size, run, 4.0 * B * H * T * D, 4.0 * k.size)


LADDERS: dict[str, Callable[[Any], Iterator[Rung]]] = {
    "matmul": _matmul,
    "attention": _attention,
    "attention-decode": _decoding,
    "attention-backward": lambda backend: _attention(backend, backward=True),
    **MEMORY_LADDERS,
}
