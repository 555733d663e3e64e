"""Training GPT-2 124M (Radford et al. 2019) in bfloat16: tokens a second beside PyTorch.

The rival is what nanoGPT runs: the same model by `torch.compile` under autocast to bfloat16, with
PyTorch's attention and its fused AdamW. Both clip the gradients' norm at 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygen as tg
from benchmarks.gpu.timing import seconds, spread, torch_on
from tinygen import nn
from tinygen.backend import backend_named
from tinygen.models.transformer import GPT, GPTConfig

WHOLE = GPTConfig(50304, 1024, 12, 12, 768)
"""GPT-2's vocabulary up to a multiple of 64, as in nanoGPT."""
STEPS = 4
"""Steps that are timed together: one may begin while another is at work."""
TINY = GPTConfig(64, 32, 1, 2, 32)
OPTIONS = {"lr": 6e-4, "betas": (0.9, 0.95), "weight_decay": 0.1}


def stage(device: str, quick: bool) -> dict[str, Any]:
    """GPT-2 124M: tokens a second of a training step, beside torch.compile"""
    backend: Any = backend_named(device)
    config, batch, repeats = (TINY, 2, 2) if quick else (WHOLE, 32, 6)
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, config.vocab_size, (batch, config.block_size + 1))
    step, losses = _tinygen(device, config, tokens)
    steps: dict[str, Callable[[], None]] = {"tinygen": step}
    torch = torch_on(device)
    if torch is not None:
        steps["torch.compile"] = _compiled(torch, config, tokens)
    for run in steps.values():
        for _ in range(3):
            run()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for i in range(repeats):
        for name in steps if i % 2 == 0 else reversed(steps):
            several = [steps[name]] * STEPS
            taken = seconds(backend, lambda several=several: [step() for step in several])
            times[name].append(taken / STEPS)
    rates = {}
    for name, values in times.items():
        found = spread(values)
        rate = batch * config.block_size / found["us"] * 1e6
        rates[name] = {**found, "tokens a second": rate}
        print(f"{name:14} {rate:12,.0f} tokens/s  {found['us']:10,.0f} us a step")
    told = [float(tg.ops.astype(loss, "float32").item()) for loss in losses]
    return {"batch": batch, "steps": rates, "losses": told}


def _tinygen(device: str, config: GPTConfig, tokens: Any) -> tuple[Callable[[], None], list[Any]]:
    model = GPT(config, rng=tg.random.Generator(0)).to(device)
    optimizer = tg.optim.AdamW(model.parameters(), **OPTIONS)
    inputs, targets = (tg.tensor(x, device=device) for x in (tokens[:, :-1], tokens[:, 1:]))
    losses: list[Any] = []

    def step() -> None:
        with nn.computing_in(model, "bfloat16"):
            loss = model.loss(inputs, targets)
        optimizer.zero_grad()
        loss.backward()
        tg.optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.detach())

    return step, losses


def _compiled(torch: Any, config: GPTConfig, tokens: Any) -> Callable[[], None]:
    """The model in PyTorch, compiled, and its step."""
    functional = torch.nn.functional
    width, heads = config.width, config.n_head

    class Block(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = (torch.nn.LayerNorm(width) for _ in range(2))
            self.qkv, self.out = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
            self.up = torch.nn.Linear(width, 4 * width)
            self.down = torch.nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            B, T, C = x.shape
            cut = self.qkv(self.norm1(x)).split(C, dim=2)
            q, k, v = (part.view(B, T, heads, C // heads).transpose(1, 2) for part in cut)
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(B, T, C))
            hidden = functional.gelu(self.up(self.norm2(x)), approximate="tanh")
            return x + self.down(hidden)

    class Model(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.tokens = torch.nn.Embedding(config.vocab_size, width)
            self.positions = torch.nn.Embedding(config.block_size, width)
            self.blocks = torch.nn.ModuleList(Block() for _ in range(config.n_layer))
            self.norm = torch.nn.LayerNorm(width)

        def forward(self, tokens: Any, targets: Any) -> Any:
            x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
            for block in self.blocks:
                x = block(x)
            logits = functional.linear(self.norm(x), self.tokens.weight)
            return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    model = Model().cuda()
    compiled = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True, **OPTIONS)
    inputs, targets = (torch.as_tensor(x, device="cuda") for x in (tokens[:, :-1], tokens[:, 1:]))

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            loss = compiled(inputs, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step
