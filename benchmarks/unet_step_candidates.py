"""One training step of the same small U-Net, twice: tinygen and PyTorch.

DDPM on 32 x 32 x 3 images, batch 32: width 64, halved twice by convolutions of stride 2 (64, 128,
128 channels), one ResBlock a level, skips concatenated, nearest upsampling, group norm with 8
groups, time embedding added, no attention; mean squared error of the noise; AdamW. Both candidates
start from the same parameters and see the same images, steps and noise, so that their losses agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

BATCH, SIDE, CHANNELS, BASE, CONDITION, GROUPS, STEPS = 32, 32, 3, 64, 128, 8, 1000
LR, BETAS, EPS, DECAY = 1e-4, (0.9, 0.999), 1e-8, 0.01


def alpha_bar() -> np.ndarray:
    return np.cumprod(1 - np.linspace(1e-4, 0.02, STEPS))


def batches() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(noisy images, steps, noise), images as (N, H, W, C); a fresh batch a step."""
    rng = np.random.default_rng(1)
    shape = BATCH, SIDE, SIDE, CHANNELS
    images = rng.standard_normal(shape).astype(np.float32)
    kept = alpha_bar()
    while True:
        t = rng.integers(0, STEPS, BATCH)
        noise = rng.standard_normal(shape).astype(np.float32)
        a = kept[t][:, None, None, None].astype(np.float32)
        yield np.sqrt(a) * images + np.sqrt(1 - a) * noise, t.astype(np.float32), noise


def tinygen_model() -> Any:
    """The model, with a last convolution that is not zero, as after some steps."""
    import tinygen as tg
    from tinygen.models.diffusion import UNet, UNetConfig

    config = UNetConfig(
        CHANNELS,
        base=BASE,
        multipliers=(1, 2, 2),
        blocks=1,
        attention=(),
        condition=CONDITION,
        groups=GROUPS,
        upsampling_conv=False,
    )
    model = UNet(config, rng=tg.random.Generator(0))
    rng = np.random.default_rng(0)
    for parameter in model.parameters():
        if parameter.ndim > 1 and not parameter.data.any():
            bound = 1 / math.sqrt(math.prod(parameter.shape[1:]))
            parameter.data[...] = rng.uniform(-bound, bound, parameter.shape)
    return model


def tinygen_step() -> Callable[[], float]:
    import tinygen as tg
    from tinygen import ops

    tg.tune_allocator()
    model = tinygen_model()
    optimizer = tg.optim.AdamW(
        model.parameters(),
        lr=LR,
        betas=BETAS,
        eps=EPS,
        weight_decay=DECAY,
    )
    data = batches()

    def step() -> float:
        noisy, t, noise = next(data)
        loss = ops.mse_loss(model(noisy, t), noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def torch_step() -> Callable[[], float]:
    import torch
    import torch.nn.functional as F
    from torch import nn

    torch.set_num_threads(1)

    class Res(nn.Module):
        def __init__(self, i: int, o: int) -> None:
            super().__init__()
            self.norm1, self.conv1 = nn.GroupNorm(GROUPS, i), nn.Conv2d(i, o, 3, 1, 1)
            self.shift = nn.Linear(CONDITION, o)
            self.norm2, self.conv2 = nn.GroupNorm(GROUPS, o), nn.Conv2d(o, o, 3, 1, 1)
            self.skip = nn.Conv2d(i, o, 1) if i != o else nn.Identity()

        def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
            h = self.conv1(F.silu(self.norm1(x))) + self.shift(c)[:, :, None, None]
            return self.skip(x) + self.conv2(F.silu(self.norm2(h)))

    class UNet(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.time1, self.time2 = nn.Linear(width, CONDITION), nn.Linear(CONDITION, CONDITION)
            self.input = nn.Conv2d(CHANNELS, width, 3, 1, 1)
            self.down1, self.halve1 = Res(width, width), nn.Conv2d(width, width, 3, 2, 1)
            self.down2 = Res(width, 2 * width)
            self.halve2 = nn.Conv2d(2 * width, 2 * width, 3, 2, 1)
            self.middle = Res(2 * width, 2 * width)
            self.up2, self.up1 = Res(4 * width, 2 * width), Res(3 * width, width)
            self.norm = nn.GroupNorm(GROUPS, width)
            self.output = nn.Conv2d(width, CHANNELS, 3, 1, 1)

        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            frequencies = torch.exp(-math.log(1e4) * torch.arange(BASE // 2) / (BASE // 2))
            angles = t[:, None] * frequencies
            waves = torch.cat([angles.sin(), angles.cos()], 1)
            c = F.silu(self.time2(F.silu(self.time1(waves))))
            a = self.down1(self.input(x), c)
            b = self.down2(self.halve1(a), c)
            h = self.middle(self.halve2(b), c)
            h = self.up2(torch.cat([F.interpolate(h, scale_factor=2.0), b], 1), c)
            h = self.up1(torch.cat([F.interpolate(h, scale_factor=2.0), a], 1), c)
            return self.output(F.silu(self.norm(h)))

    model = UNet(BASE)
    ours = list(tinygen_model().named_parameters())
    _copy(ours, dict(model.named_parameters()))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LR, betas=BETAS, eps=EPS, weight_decay=DECAY, fused=True
    )
    data = ((_nchw(x), torch.from_numpy(t), _nchw(noise)) for x, t, noise in batches())

    def step() -> float:
        noisy, t, noise = next(data)
        loss = F.mse_loss(model(noisy, t), noise)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


# From the names of our parts to those of the model above.
PARTS = {
    "time.hidden": "time1",
    "time.out": "time2",
    "down.0.0.res": "down1",
    "down.1.0.res": "down2",
    "halve.0.conv": "halve1",
    "halve.1.conv": "halve2",
    "middle.0.res": "middle",
    "up.0.0.res": "up2",
    "up.1.0.res": "up1",
}


def _copy(ours: list[tuple[str, Any]], theirs: dict[str, Any]) -> None:
    """Our parameters into theirs, each once; kernels (O, kH, kW, C) become (O, C, kH, kW)."""
    import torch

    left = set(theirs)
    for name, parameter in ours:
        part = next((p for p in PARTS if name.startswith(f"{p}.")), None)
        target = name if part is None else PARTS[part] + name[len(part) :]
        array = parameter.data
        if array.ndim == 4:
            array = array.transpose(0, 3, 1, 2)
        tensor = theirs[target]
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(array.copy()).view(tensor.shape))
        left.remove(target)
    if left:
        raise SystemExit(f"parameters without a twin: {sorted(left)}")


def _nchw(x: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
