"""Ops forward and backward over shapes, against PyTorch eager.

tinygen bench run benchmarks/suites/ops.py --only softmax --out ops.json
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygen as tg
from tinygen import ops
from tinygen.measure import Benchmark

SHAPES = ((64, 64), (768, 128), (1024, 384), (256, 4096))


def _inputs(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return tuple(rng.standard_normal(shape, dtype=np.float32) for _ in range(2))  # x and dy


def _tinygen(op: Callable[..., Any], shape: tuple[int, ...]) -> Callable[[], Any]:
    x, dy = _inputs(shape)
    leaf = tg.tensor(x, requires_grad=True)
    return lambda: tg.grad(op(leaf), leaf, tg.tensor(dy))[0]


def _torch(name: str, shape: tuple[int, ...]) -> Callable[[], Any]:
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)
    op = {
        "softmax": lambda x: functional.softmax(x, -1),
        "gelu": lambda x: functional.gelu(x, approximate="tanh"),
        "layer_norm": lambda x: functional.layer_norm(x, x.shape[-1:]),
        "silu": functional.silu,
    }[name]
    x, dy = map(torch.from_numpy, _inputs(shape))
    x.requires_grad_()
    return lambda: torch.autograd.grad(op(x), x, dy)[0]


OPS: dict[str, Callable[..., Any]] = {
    "softmax": ops.softmax,
    "gelu": lambda x: ops.gelu(x, approximate="tanh"),
    "layer_norm": ops.layer_norm,
    "silu": ops.silu,
}

BENCHMARKS = [
    Benchmark(
        f"{name} {'x'.join(map(str, shape))}",
        {
            "tinygen": lambda op=op, shape=shape: _tinygen(op, shape),
            "PyTorch": lambda name=name, shape=shape: _torch(name, shape),
        },
    )
    for name, op in OPS.items()
    for shape in SHAPES
]
