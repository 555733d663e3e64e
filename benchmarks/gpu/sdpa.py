"""Attention in float16, causal, forward and backward, against PyTorch's backends, each pinned."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.gpu.timing import SETS, compare, torch_on
from tinygen.backend import backend_named


def stage(device: str, quick: bool) -> dict[str, Any]:
    """attention of 64 and 128 columns, against the flash and cuDNN backends of PyTorch"""
    backend: Any = backend_named(device)
    sizes = [(1, 2, 64, 32)] if quick else [(8, 12, 1024, 64), (4, 16, 2048, 128)]
    return {"sizes": {str(size): _size(backend, device, size, quick) for size in sizes}}


def _size(
    backend: Any, device: str, size: tuple[int, int, int, int], quick: bool
) -> dict[str, Any]:
    B, H, T, D = size
    rng = np.random.default_rng(0)
    sets = [
        [
            backend.asarray(rng.standard_normal(size, dtype="float32").astype("float16"))
            for _ in range(4)
        ]
        for _ in range(SETS)
    ]
    outs = [backend.attention_forward(*arrays[:3], causal=True) for arrays in sets]

    def backward(i: int) -> Any:
        *qkv, g = sets[i]
        return backend.attention_backward(g, *qkv, *outs[i], causal=True)

    forward: dict[str, Any] = {
        "tinygen": lambda i: backend.attention_forward(*sets[i][:3], causal=True)
    }
    back: dict[str, Any] = {"tinygen": backward}
    torch = torch_on(device)
    if torch is not None:
        kinds = torch.nn.attention.SDPBackend
        for name, kind in (("flash", kinds.FLASH_ATTENTION), ("cuDNN", kinds.CUDNN_ATTENTION)):
            theirs = [[torch.from_dlpack(a).requires_grad_() for a in arrays] for arrays in sets]
            forward[name], back[name] = _rival(torch, kind, theirs)
    repeats = 4 if quick else 60
    flops = 2.0 * B * H * T * T * D  # two products, half of each visible
    result = {}
    for name, candidates, products in (("forward", forward, 1.0), ("backward", back, 2.5)):
        found = compare(backend, candidates, repeats)
        rivals = [times["us"] for rival, times in found.items() if rival != "tinygen"]
        result[name] = {**found, "TFLOP/s": 1e-6 * products * flops / found["tinygen"]["us"]}
        if rivals:
            result[name]["times as fast as the best"] = min(rivals) / found["tinygen"]["us"]
        print(f"{size} {name}: {result[name]}")
    return result


def _rival(torch: Any, kind: Any, sets: Any) -> tuple[Any, Any]:
    def forward(i: int) -> Any:
        with torch.nn.attention.sdpa_kernel(kind), torch.no_grad():
            return torch.nn.functional.scaled_dot_product_attention(*sets[i][:3], is_causal=True)

    with torch.nn.attention.sdpa_kernel(kind):
        outs = [
            torch.nn.functional.scaled_dot_product_attention(*arrays[:3], is_causal=True)
            for arrays in sets
        ]

    def backward(i: int) -> Any:
        return torch.autograd.grad(outs[i], sets[i][:3], sets[i][3], retain_graph=True)

    return forward, backward
