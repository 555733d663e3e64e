"""Norms, pooling and resizing of images, forward and backward: each case in tinygen and in PyTorch.

Both see the same images and the same gradient of the output, differentiate by the images and the
layer's parameters, and return a weighted sum of the first image's gradient, so that the harness can
compare what they computed. PyTorch runs in its default layout, (N, C, H, W). tinygen's copy of the
given gradient, which a layer within a network does without, is counted: about a tenth.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

Shape = tuple[int, int, int, int]

CASES: dict[str, tuple[Shape, Callable[..., Any], Callable[..., Any]]] = {
    # name: shape (N, H, W, C), the layer in tinygen (tg, channels), the layer in torch
    "batch_norm": (
        (64, 16, 16, 128),
        lambda tg, C: tg.nn.BatchNorm2d(C),
        lambda torch, C: torch.nn.BatchNorm2d(C),
    ),
    "group_norm_silu_32": (
        (32, 32, 32, 64),
        lambda tg, C: tg.nn.GroupNorm(8, C, activation="silu"),
        lambda torch, C: torch.nn.Sequential(torch.nn.GroupNorm(8, C), torch.nn.SiLU()),
    ),
    "group_norm_silu_16": (
        (32, 16, 16, 128),
        lambda tg, C: tg.nn.GroupNorm(8, C, activation="silu"),
        lambda torch, C: torch.nn.Sequential(torch.nn.GroupNorm(8, C), torch.nn.SiLU()),
    ),
    "group_norm": (
        (32, 32, 32, 64),
        lambda tg, C: tg.nn.GroupNorm(8, C),
        lambda torch, C: torch.nn.GroupNorm(8, C),
    ),
    "instance_norm": (
        (32, 32, 32, 64),
        lambda tg, C: tg.nn.InstanceNorm(C),
        lambda torch, C: torch.nn.InstanceNorm2d(C),
    ),
    "nearest_x2": (
        (32, 16, 16, 128),
        lambda tg, C: tg.nn.Upsample(C, conv=False, rng=None),
        lambda torch, C: torch.nn.Upsample(scale_factor=2),
    ),
    "bilinear_x2": (
        (32, 16, 16, 128),
        lambda tg, C: lambda x: tg.ops.resize(x, (32, 32), mode="bilinear"),
        lambda torch, C: torch.nn.Upsample(scale_factor=2, mode="bilinear"),
    ),
    "max_pool_2": (
        (32, 32, 32, 64),
        lambda tg, C: tg.nn.MaxPool2d(2),
        lambda torch, C: torch.nn.MaxPool2d(2),
    ),
    "avg_pool_2": (
        (32, 32, 32, 64),
        lambda tg, C: tg.nn.AvgPool2d(2),
        lambda torch, C: torch.nn.AvgPool2d(2),
    ),
}


def tinygen_case(name: str) -> Callable[[], float]:
    import tinygen as tg

    tg.tune_allocator()
    shape, make, _ = CASES[name]
    layer = make(tg, shape[3])
    x = tg.tensor(normal(shape, 0), requires_grad=True)
    g = tg.tensor(normal(layer(x).shape, 1))
    probe = normal(shape[1:], 2)
    wanted = [x, *(layer.parameters() if isinstance(layer, tg.nn.Module) else ())]

    def step() -> float:
        dx, *_ = tg.grad(layer(x), wanted, g)
        return float(np.vdot(dx.numpy()[0], probe))

    return step


def torch_case(name: str) -> Callable[[], float]:
    import torch

    torch.set_num_threads(1)
    shape, _, make = CASES[name]
    layer = make(torch, shape[3])
    x = _nchw(normal(shape, 0)).requires_grad_()
    N, C, H, W = layer(x).shape
    g = _nchw(normal((N, H, W, C), 1))
    probe = _nchw(normal(shape[1:], 2)[None]).flatten()
    wanted = [x, *layer.parameters()]

    def step() -> float:
        dx, *_ = torch.autograd.grad(layer(x), wanted, g)
        return float(torch.dot(dx[0].flatten(), probe))

    return step


for _name in CASES:  # the harness looks builders up by name
    globals()[f"tinygen_{_name}"] = partial(tinygen_case, _name)
    globals()[f"torch_{_name}"] = partial(torch_case, _name)


def normal(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _nchw(x: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
