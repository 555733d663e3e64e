"""Matrix products: float16 and float32 against cuBLAS, and a fused layer against torch.compile."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from benchmarks.gpu.timing import SETS, compare, torch_on
from tinygen.backend import backend_named
from tinygen.backend.device.linear import linear_forward
from tinygen.backend.device.matmul import matmul

TOKENS = 8 * 1024
LAYERS = {"qkv": (2304, 768), "proj": (768, 768), "up": (3072, 768), "down": (768, 3072)}
"""(out, in) of GPT-2 124M's layers."""


def shapes(quick: bool) -> dict[str, tuple[int, int, int, bool, bool]]:
    """By name M, N, K, and whether A and B lie transposed."""
    if quick:
        return {
            "tiny, forward": (128, 64, 64, False, True),
            "tiny, weight": (64, 64, 128, True, False),
        }
    found = {"8192^3": (8192, 8192, 8192, False, True)}
    for name, (out, into) in LAYERS.items():
        found[f"{name}, forward"] = (TOKENS, out, into, False, True)
        found[f"{name}, input gradient"] = (TOKENS, into, out, False, False)
        found[f"{name}, weight gradient"] = (out, into, TOKENS, True, False)
    return found


def stage(device: str, quick: bool) -> dict[str, Any]:
    """products of GPT-2's shapes against cuBLAS, a fused linear layer against torch.compile"""
    backend: Any = backend_named(device)
    repeats = 4 if quick else 60
    rows, ratios = {}, []
    for name, (M, N, K, a_turned, b_turned) in shapes(quick).items():
        a = _sets(backend, (K, M) if a_turned else (M, K), a_turned)
        b = _sets(backend, (N, K) if b_turned else (K, N), b_turned)
        found = compare(backend, _candidates(backend, a, b, None), repeats)
        ratio = found["xp.matmul"]["us"] / found["tinygen"]["us"]
        tflops = 2e-6 * M * N * K / found["tinygen"]["us"]
        rows[name] = {**found, "times as fast": ratio, "TFLOP/s": tflops}
        told = f"{found['tinygen']['us']:10.1f} us {tflops:8.1f} TFLOP/s {ratio:6.3f} of xp.matmul"
        print(f"{name:26} {told}")
        if name != "8192^3":
            ratios.append(ratio)
    mean = prod(ratios) ** (1 / len(ratios))
    print(f"geometric mean over the layers: {mean:.3f}")
    return {
        "products": rows,
        "geometric mean": mean,
        "least": min(ratios),
        "float32": _float32(backend, quick),
        "fused": _fused(device, quick),
    }


def _candidates(backend: Any, a: Any, b: Any, rung: str | None) -> dict[str, Any]:
    return {
        "tinygen": lambda i: matmul(backend, a[i], b[i], rung=rung),
        "xp.matmul": lambda i: backend.xp.matmul(a[i], b[i]),
    }


def _float32(backend: Any, quick: bool) -> dict[str, Any]:
    """The rungs for float32 against the library's float32."""
    M, N, K = (128, 64, 64) if quick else (8192, 8192, 8192)
    a, b = _sets(backend, (M, K), False, "float32"), _sets(backend, (N, K), True, "float32")
    rows = {}
    for rung in ("registers", "splits", "wgmma_parts"):
        found = compare(backend, _candidates(backend, a, b, rung), 4 if quick else 20)
        ratio = found["xp.matmul"]["us"] / found["tinygen"]["us"]
        rows[rung] = {**found, "times as fast": ratio}
        print(f"float32, {M} x {N} x {K}, {rung}: {ratio:.3f} of xp.matmul")
    return rows


def _fused(device: str, quick: bool) -> dict[str, Any] | None:
    """y = gelu(x W^T + b) with its derivative, as training wants it."""
    torch, backend = torch_on(device), backend_named(device)
    if torch is None:
        return None
    x, w = _sets(backend, (TOKENS, 768), False), _sets(backend, (3072, 768), False)
    b = _sets(backend, (3072,), False)
    theirs = [[torch.from_dlpack(value[i]) for i in range(SETS)] for value in (x, w, b)]

    @torch.compile
    def layer(x: Any, w: Any, b: Any) -> Any:
        u = torch.nn.functional.linear(x, w, b)
        return torch.nn.functional.gelu(u, approximate="tanh"), u

    candidates = {
        "tinygen": lambda i: linear_forward(backend, x[i], w[i], b[i], "gelu_tanh"),
        "torch.compile": lambda i: layer(*(value[i] for value in theirs)),
    }
    found = compare(backend, candidates, 4 if quick else 60)
    return {**found, "times as fast": found["torch.compile"]["us"] / found["tinygen"]["us"]}


def _sets(backend: Any, shape: tuple[int, ...], turned: bool, dtype: str = "float16") -> list[Any]:
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal(shape, dtype="float32").astype(dtype)
    arrays = [backend.asarray(np.roll(drawn, i)) for i in range(SETS)]
    return [array.T for array in arrays] if turned else arrays
