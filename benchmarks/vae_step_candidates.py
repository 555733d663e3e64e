"""One training step of the same VAE, twice: tinygen and PyTorch, from one start on the same data.

784-512-20-512-784 with ReLU, Bernoulli likelihood, batch 128, Adam. Batches and noise are drawn
beforehand and shared, so that the losses agree: a fast step that computes something else is no
candidate. PyTorch comes with its fused optimiser and with its default one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle

import numpy as np

DATA, HIDDEN, LATENT, BATCH, LR = 784, 512, 20, 128, 1e-3
LAYERS = {
    "encoder.body.0": (HIDDEN, DATA),
    "encoder.out": (2 * LATENT, HIDDEN),
    "decoder.body.0": (HIDDEN, LATENT),
    "decoder.out": (DATA, HIDDEN),
}
"""Weights (out, in) by the names of tinygen's model."""


def initial_parameters() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    parameters = {}
    for name, (out, into) in LAYERS.items():
        weight = rng.standard_normal((out, into)) / np.sqrt(into)
        parameters[f"{name}.weight"] = weight.astype(np.float32)
        parameters[f"{name}.bias"] = np.zeros(out, np.float32)
    return parameters


def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """x (128, 784) in [0, 1] and noise (128, 20): ten of them, over and over."""
    rng = np.random.default_rng(1)
    drawn = [
        (
            rng.random((BATCH, DATA), dtype=np.float32),
            rng.standard_normal((BATCH, LATENT), dtype=np.float32),
        )
        for _ in range(10)
    ]
    return cycle(drawn)


def tinygen_step() -> Callable[[], float]:
    import tinygen as tg
    from tinygen.models.vae import VAE, VAEConfig

    tg.tune_allocator()
    model = VAE(VAEConfig((DATA,), LATENT, (HIDDEN,)), rng=tg.random.Generator(0))
    model.load_state_dict(initial_parameters())
    optimizer = tg.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.0)
    data = batches()

    def step() -> float:
        x, noise = next(data)
        loss = model.loss(x, noise=noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def tinygen_mkl_step() -> Callable[[], float]:
    from tinygen.backend.numpy_backend.blas import use_blas

    use_blas("mkl")
    return tinygen_step()


def torch_fused_step() -> Callable[[], float]:
    return torch_step(fused=True)


def torch_default_step() -> Callable[[], float]:
    return torch_step(fused=None)


def torch_step(fused: bool | None) -> Callable[[], float]:
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(1)
    w = {k: torch.nn.Parameter(torch.from_numpy(a)) for k, a in initial_parameters().items()}
    optimizer = torch.optim.AdamW(w.values(), lr=LR, weight_decay=0.0, fused=fused)
    data = batches()

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def step() -> float:
        x, noise = (torch.from_numpy(a) for a in next(data))
        h = F.relu(linear(x, "encoder.body.0"))
        mu, logvar = linear(h, "encoder.out").chunk(2, dim=1)
        z = mu + torch.exp(0.5 * logvar) * noise
        logits = linear(F.relu(linear(z, "decoder.body.0")), "decoder.out")
        recon = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        kl = -0.5 * (1 + logvar - mu * mu - logvar.exp()).sum()
        loss = (recon + kl) / BATCH
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
