"""Kernels that wait for memory: bytes that have to move, by second, beside a plain copy."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.gpu.timing import SETS, compare
from tinygen.backend import backend_named

EPS = 1e-5


def stage(device: str, quick: bool) -> dict[str, Any]:
    """norms, softmax, activations and AdamW against the bandwidth of a copy"""
    backend: Any = backend_named(device)
    rows, columns = (64, 256) if quick else (8192, 4096)
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((rows, columns), dtype="float32")
    x = [backend.asarray(np.roll(drawn, i)) for i in range(SETS)]
    g = [backend.asarray(np.roll(drawn, 7 * i + 1)) for i in range(SETS)]
    y = [backend.empty((rows, columns), "float32") for _ in range(SETS)]
    weight, bias = (backend.asarray(drawn[i].copy()) for i in range(2))
    norms = [backend.layer_norm_forward(a, weight, bias, EPS) for a in x]
    probs = [backend.softmax(a, -1) for a in x]
    needs = (True, True, True)

    def copy(i: int) -> None:
        y[i][...] = x[i]

    def norm_backward(i: int) -> Any:
        return backend.layer_norm_backward(g[i], x[i], weight, *norms[i][1:], needs)

    def adamw(i: int) -> None:
        flat = [a.reshape(-1) for a in (x[i], g[i], y[i], probs[i])]
        backend.adamw_update(
            *flat, lr=1e-3, beta1=0.9, beta2=0.99, eps=1e-8, weight_decay=0.1, step=10,
            scratch=flat[0],
        )  # fmt: skip

    one = 4.0 * rows * columns
    cases = {
        "copy": (copy, 2 * one),
        "layer norm": (lambda i: backend.layer_norm_forward(x[i], weight, bias, EPS), 2 * one),
        "layer norm, backward": (norm_backward, 3 * one),
        "softmax": (lambda i: backend.softmax(x[i], -1), 2 * one),
        "softmax, backward": (lambda i: backend.softmax_backward(g[i], probs[i], -1), 3 * one),
        "GELU with its slope": (lambda i: backend.gelu_forward(x[i], "tanh"), 3 * one),
        "AdamW": (adamw, 7 * one),
    }
    found = compare(backend, {name: run for name, (run, _) in cases.items()}, 4 if quick else 60)
    rows_of: dict[str, Any] = {}
    for name, (_, least) in cases.items():
        rate = least / found[name]["us"] * 1e-3
        rows_of[name] = {**found[name], "GB/s": rate}
        rows_of[name]["of copy"] = rate / rows_of["copy"]["GB/s"]
        print(f"{name:24} {rate:8.1f} GB/s  {rows_of[name]['of copy']:.3f} of copy")
    return {"kernels": rows_of}
