"""One training step of the same small Llama, twice: tinygen and PyTorch eager.

`small`: the sizes of `gpt_step_candidates.py`; `large`: 6 layers of width 384 with 6 heads and 2
key/value heads, block 256, batch 4. Both have hidden layers of 8/3 the width and a head of their
own. AdamW decays matrices alone. Parameters and batches are the same, so that losses agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

import tinygen as tg
from tinygen.models.transformer import Llama, LlamaConfig
from tinygen.models.transformer.pretrained.places import places

LR, BETAS, EPS, DECAY = 1e-3, (0.9, 0.99), 1e-8, 0.1


class Case(NamedTuple):
    config: LlamaConfig
    batch: int

    def model(self) -> Llama:
        return Llama(self.config, rng=tg.random.Generator(0))

    def batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng(1)
        while True:
            shape = (self.batch, self.config.block_size + 1)
            tokens = rng.integers(0, self.config.vocab_size, shape)
            yield tokens[:, :-1].copy(), tokens[:, 1:].copy()


SMALL = Case(LlamaConfig(65, 64, 4, 4, 128), 12)
LARGE = Case(LlamaConfig(65, 256, 6, 6, 384, n_kv_head=2), 4)


def tinygen_small() -> Callable[[], float]:
    return _tinygen(SMALL)


def tinygen_large() -> Callable[[], float]:
    return _tinygen(LARGE)


def torch_small() -> Callable[[], float]:
    return _torch(SMALL)


def torch_large() -> Callable[[], float]:
    return _torch(LARGE)


def _tinygen(case: Case) -> Callable[[], float]:
    tg.tune_allocator()
    model, data = case.model(), case.batches()
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = tg.optim.AdamW(groups, lr=LR, betas=BETAS, eps=EPS)

    def step() -> float:
        loss = model.loss(*next(data))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _torch(case: Case) -> Callable[[], float]:
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(1)
    c, data = case.config, case.batches()
    H, G, D, T = c.n_head, c.n_groups, c.features, c.block_size
    weights = {
        name: torch.nn.Parameter(torch.from_numpy(np.array(place.view(place.parameter.data))))
        for name, place in places(case.model()).items()
        if place.parameter is not None
    }
    groups = [
        {"params": [w for w in weights.values() if w.ndim > 1], "weight_decay": DECAY},
        {"params": [w for w in weights.values() if w.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=EPS, fused=True)
    frequencies = c.rope_base ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)
    angles = (torch.arange(T)[:, None] * frequencies).repeat(1, 2)  # (T, D)
    cos, sin = angles.cos().float(), angles.sin().float()

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.linear(x, weights[f"{name}.weight"])

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.rms_norm(x, (c.width,), weights[f"{name}.weight"], c.eps)

    def turned(x: torch.Tensor) -> torch.Tensor:
        halves = torch.cat([-x[..., D // 2 :], x[..., : D // 2]], dim=-1)
        return x * cos + halves * sin

    def heads(x: torch.Tensor, n: int) -> torch.Tensor:
        return x.view(case.batch, T, n, D).transpose(1, 2)

    def loss_of(tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        x = F.embedding(tokens, weights["model.embed_tokens.weight"])
        for i in range(c.n_layer):
            block = f"model.layers.{i}"
            h = norm(x, f"{block}.input_layernorm")
            q, k, v = (
                heads(linear(h, f"{block}.self_attn.{part}_proj"), n)
                for part, n in (("q", H), ("k", G), ("v", G))
            )
            out = F.scaled_dot_product_attention(
                turned(q), turned(k), v, is_causal=True, enable_gqa=G != H
            )
            merged = out.transpose(1, 2).reshape(case.batch, T, H * D)
            x = x + linear(merged, f"{block}.self_attn.o_proj")
            h = norm(x, f"{block}.post_attention_layernorm")
            gated = F.silu(linear(h, f"{block}.mlp.gate_proj")) * linear(h, f"{block}.mlp.up_proj")
            x = x + linear(gated, f"{block}.mlp.down_proj")
        logits = linear(norm(x, "model.norm"), "lm_head")
        return F.cross_entropy(logits.view(-1, c.vocab_size), targets.view(-1))

    def step() -> float:
        tokens, targets = (torch.from_numpy(a) for a in next(data))
        loss = loss_of(tokens, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
