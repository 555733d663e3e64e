"""One training step of the same DCGAN, written twice: tinygen and PyTorch.

32x32 colour images, batch 64, base 64, latent 100: G projects to (4, 4, 256) and doubles three
times, D halves three times, all 4x4 of stride 2, batch norm and (leaky) ReLU between; 0.9 and 0.7
million parameters. The non-saturating loss, Adam with a learning rate of 2e-4 and betas (0.5,
0.999) for each. One forward pass of G serves both steps. Both candidates start from the same
weights and see the same numbers, so that their losses agree: a fast step that computes something
else is no candidate.

PyTorch's own example leaves D's weights asking for gradients while G learns, and throws those
gradients away; `torch_step` does so as well. `torch_frozen_step` switches them off, as tinygen's
`freeze` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

SIDE, CHANNELS, BASE, LATENT, BATCH = 32, 3, 64, 100, 64
LR, BETAS = 2e-4, (0.5, 0.999)


def initial_parameters() -> dict[str, dict[str, np.ndarray]]:
    """By player and name. Convolutions as (out, kH, kW, in), transposed ones (in, kH, kW, out), the
    projection (4, 4, 4 base, latent), D's last layer (1, 4, 4, 4 base)."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return (0.02 * rng.standard_normal(shape)).astype(np.float32)

    def norm(width: int) -> np.ndarray:
        return (1 + 0.02 * rng.standard_normal(width)).astype(np.float32)

    return {
        "generator": {
            "project": normal(4, 4, 4 * BASE, LATENT),
            "norm0": norm(4 * BASE),
            "norm1": norm(2 * BASE),
            "norm2": norm(BASE),
            "up0": normal(4 * BASE, 4, 4, 2 * BASE),
            "up1": normal(2 * BASE, 4, 4, BASE),
            "up2": normal(BASE, 4, 4, CHANNELS),
        },
        "discriminator": {
            "down0": normal(BASE, 4, 4, CHANNELS),
            "down1": normal(2 * BASE, 4, 4, BASE),
            "down2": normal(4 * BASE, 4, 4, 2 * BASE),
            "norm1": norm(2 * BASE),
            "norm2": norm(4 * BASE),
            "head": normal(1, 4, 4, 4 * BASE),
        },
    }


def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(images in [-1, 1] (N, H, W, C), z (N, latent)), fresh ones a step."""
    rng = np.random.default_rng(1)
    while True:
        images = rng.uniform(-1, 1, (BATCH, SIDE, SIDE, CHANNELS))
        yield images.astype(np.float32), rng.standard_normal((BATCH, LATENT)).astype(np.float32)


def tinygen_step() -> Callable[[], float]:
    import tinygen as tg
    from tinygen.models.gan import Discriminator, Duel, GANConfig, Generator

    tg.tune_allocator()
    config = GANConfig(
        (SIDE, SIDE, CHANNELS),
        latent=LATENT,
        architecture="dcgan",
        base=BASE,
        discriminator_norm="batch",
    )
    rng = tg.random.Generator(0)
    generator, discriminator = Generator(config, rng=rng), Discriminator(config, rng=rng)
    weights = initial_parameters()
    g, d = weights["generator"], weights["discriminator"]
    ups, downs = generator.body.ups, discriminator.body.downs
    _copy(generator.body.project.weight, g["project"].reshape(-1, LATENT))
    for i in range(3):
        _copy(ups[i].weight, g[f"up{i}"])
        _copy(generator.body.norms[i].weight, g[f"norm{i}"])
        _copy(downs[i].weight, d[f"down{i}"])
    for i in (1, 2):
        _copy(discriminator.body.norms[i - 1].weight, d[f"norm{i}"])
    _copy(discriminator.head.out.weight, d["head"].reshape(1, -1))
    discriminator.head.out.bias.data[...] = 0
    duel = Duel(
        generator,
        discriminator,
        tg.optim.Adam(generator.parameters(), LR, BETAS),
        tg.optim.Adam(discriminator.parameters(), LR, BETAS),
    )
    data = batches()

    def step() -> float:
        told = duel.step(*next(data))
        return told["d_loss"] + told["g_loss"]

    return step


def _copy(parameter: Any, value: np.ndarray) -> None:
    assert parameter.data.shape == value.shape
    parameter.data[...] = value


def torch_step(frozen: bool = False, channels_last: bool = False) -> Callable[[], float]:
    import torch
    import torch.nn.functional as F
    from torch import nn

    torch.set_num_threads(1)
    b = BASE

    def up(inputs: int, outputs: int, bias: bool = False) -> nn.Module:
        return nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=bias)

    def down(inputs: int, outputs: int, bias: bool = False) -> nn.Module:
        return nn.Conv2d(inputs, outputs, 4, 2, 1, bias=bias)

    generator = nn.Sequential(
        nn.ConvTranspose2d(LATENT, 4 * b, 4, 1, 0, bias=False),
        nn.BatchNorm2d(4 * b),
        nn.ReLU(True),
        up(4 * b, 2 * b),
        nn.BatchNorm2d(2 * b),
        nn.ReLU(True),
        up(2 * b, b),
        nn.BatchNorm2d(b),
        nn.ReLU(True),
        up(b, CHANNELS, bias=True),
        nn.Tanh(),
    )
    discriminator = nn.Sequential(
        down(CHANNELS, b, bias=True),
        nn.LeakyReLU(0.2, True),
        down(b, 2 * b),
        nn.BatchNorm2d(2 * b),
        nn.LeakyReLU(0.2, True),
        down(2 * b, 4 * b),
        nn.BatchNorm2d(4 * b),
        nn.LeakyReLU(0.2, True),
        nn.Conv2d(4 * b, 1, 4, 1, 0),
        nn.Flatten(0),
    )
    weights = initial_parameters()
    g, d = weights["generator"], weights["discriminator"]
    with torch.no_grad():
        for module in (*generator, *discriminator):
            if getattr(module, "bias", None) is not None:
                module.bias.zero_()
        places = {
            generator[0]: g["project"].transpose(3, 2, 0, 1),
            generator[3]: g["up0"].transpose(0, 3, 1, 2),
            generator[6]: g["up1"].transpose(0, 3, 1, 2),
            generator[9]: g["up2"].transpose(0, 3, 1, 2),
            generator[1]: g["norm0"],
            generator[4]: g["norm1"],
            generator[7]: g["norm2"],
            discriminator[0]: d["down0"].transpose(0, 3, 1, 2),
            discriminator[2]: d["down1"].transpose(0, 3, 1, 2),
            discriminator[5]: d["down2"].transpose(0, 3, 1, 2),
            discriminator[3]: d["norm1"],
            discriminator[6]: d["norm2"],
            discriminator[8]: d["head"].transpose(0, 3, 1, 2),
        }
        for module, value in places.items():
            module.weight.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    if channels_last:
        generator.to(memory_format=torch.channels_last)
        discriminator.to(memory_format=torch.channels_last)
    g_optimizer = torch.optim.Adam(generator.parameters(), LR, BETAS, fused=True)
    d_optimizer = torch.optim.Adam(discriminator.parameters(), LR, BETAS, fused=True)
    real, fake = torch.ones(BATCH), torch.zeros(BATCH)
    bce, data = F.binary_cross_entropy_with_logits, batches()

    def step() -> float:
        images, z = (torch.from_numpy(a) for a in next(data))
        images = images.permute(0, 3, 1, 2)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        images = images.contiguous(memory_format=layout)
        samples = generator(z.view(BATCH, LATENT, 1, 1))
        d_loss = bce(discriminator(images), real) + bce(discriminator(samples.detach()), fake)
        d_optimizer.zero_grad()
        d_loss.backward()
        d_optimizer.step()
        if frozen:
            discriminator.requires_grad_(False)
        g_loss = bce(discriminator(samples), real)
        g_optimizer.zero_grad()
        g_loss.backward()
        g_optimizer.step()
        if frozen:
            discriminator.requires_grad_(True)
        return d_loss.item() + g_loss.item()

    return step


def torch_frozen_step() -> Callable[[], float]:
    return torch_step(frozen=True)


def torch_channels_last_step() -> Callable[[], float]:
    return torch_step(frozen=True, channels_last=True)
