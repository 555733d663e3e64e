"""One training step of the same small GPT, three times: tinygen, PyTorch, HIPS autograd.

4 layers, 4 heads, width 128, block 64, batch 12, 65 tokens: nanoGPT's CPU example. Pre-norm blocks
without biases, GELU in its tanh form, tied head, AdamW with decoupled weight decay on matrices.
Every candidate starts from the same parameters and sees the same batches, so that their losses
agree: a fast step that computes something else is no candidate. With GPT_STEP=large in the
environment: 6 layers, 6 heads, width 384, block 256, batch 4.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator

import numpy as np

SIZES = {"small": (4, 4, 128, 64, 12, 65), "large": (6, 6, 384, 256, 4, 65)}
LAYERS, HEADS, WIDTH, BLOCK, BATCH, VOCAB = SIZES[os.environ.get("GPT_STEP", "small")]
LR, BETAS, EPS, DECAY = 1e-3, (0.9, 0.99), 1e-8, 0.1


def initial_parameters() -> dict[str, np.ndarray]:
    """By name, weights as (out, in)."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return (0.02 * rng.standard_normal(shape)).astype(np.float32)

    weights = {"tokens": normal(VOCAB, WIDTH), "positions": normal(BLOCK, WIDTH)}
    for i in range(LAYERS):
        weights[f"{i}.qkv"] = normal(3 * WIDTH, WIDTH)
        weights[f"{i}.proj"] = normal(WIDTH, WIDTH)
        weights[f"{i}.up"] = normal(4 * WIDTH, WIDTH)
        weights[f"{i}.down"] = normal(WIDTH, 4 * WIDTH)
        weights[f"{i}.norm1"] = np.ones(WIDTH, np.float32)
        weights[f"{i}.norm2"] = np.ones(WIDTH, np.float32)
    weights["norm"] = np.ones(WIDTH, np.float32)
    return weights


def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Random tokens, a fresh batch a step."""
    rng = np.random.default_rng(1)
    while True:
        tokens = rng.integers(0, VOCAB, (BATCH, BLOCK + 1))
        yield tokens[:, :-1].copy(), tokens[:, 1:].copy()


def tinygen_step() -> Callable[[], float]:
    import tinygen as tg
    from tinygen.models.transformer import GPT, GPTConfig

    tg.tune_allocator()
    config = GPTConfig(VOCAB, BLOCK, LAYERS, HEADS, WIDTH, bias=False)
    model = GPT(config, rng=tg.random.Generator(0))
    weights = initial_parameters()
    model.load_state_dict({name: weights[ours] for name, ours in _tinygen_names(model).items()})
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = tg.optim.AdamW(groups, lr=LR, betas=BETAS, eps=EPS)
    data = batches()

    def step() -> float:
        tokens, targets = next(data)
        loss = model.loss(tokens, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def tinygen_mkl_step() -> Callable[[], float]:
    from tinygen.backend.numpy_backend.blas import use_blas

    use_blas("mkl")
    return tinygen_step()


def _tinygen_names(model: object) -> dict[str, str]:
    """From the model's parameter names to ours, by order within a block."""
    ours = initial_parameters()
    shapes = {name: w.shape for name, w in ours.items()}
    names = {}
    left = dict(shapes)
    for name, parameter in model.named_parameters():  # type: ignore[attr-defined]
        layer = next((part for part in name.split(".") if part.isdigit()), None)
        match = next(
            n
            for n, shape in left.items()
            if shape == parameter.shape and (n.split(".")[0] == layer) == (layer is not None)
        )
        del left[match]
        names[name] = match
    return names


def torch_step() -> Callable[[], float]:
    import torch
    import torch.nn.functional as F

    torch.set_num_threads(1)
    weights = {k: torch.nn.Parameter(torch.from_numpy(w)) for k, w in initial_parameters().items()}
    groups = [
        {"params": [w for w in weights.values() if w.ndim > 1], "weight_decay": DECAY},
        {"params": [w for w in weights.values() if w.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=EPS, fused=True)
    data = batches()

    def loss_of(tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        x = F.embedding(tokens, weights["tokens"]) + weights["positions"]
        for i in range(LAYERS):
            h = F.layer_norm(x, (WIDTH,), weights[f"{i}.norm1"])
            qkv = F.linear(h, weights[f"{i}.qkv"]).view(BATCH, BLOCK, 3, HEADS, -1)
            q, k, v = (qkv[:, :, n].transpose(1, 2) for n in range(3))
            heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            heads = heads.transpose(1, 2).reshape(BATCH, BLOCK, WIDTH)
            x = x + F.linear(heads, weights[f"{i}.proj"])
            h = F.layer_norm(x, (WIDTH,), weights[f"{i}.norm2"])
            h = F.gelu(F.linear(h, weights[f"{i}.up"]), approximate="tanh")
            x = x + F.linear(h, weights[f"{i}.down"])
        logits = F.linear(F.layer_norm(x, (WIDTH,), weights["norm"]), weights["tokens"])
        return F.cross_entropy(logits.view(-1, VOCAB), targets.view(-1))

    def step() -> float:
        tokens, targets = (torch.from_numpy(a) for a in next(data))
        loss = loss_of(tokens, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def hips_step() -> Callable[[], float]:
    """HIPS autograd: plain NumPy, differentiated; AdamW in NumPy over each array."""
    import autograd.numpy as anp
    from autograd import value_and_grad

    weights = initial_parameters()
    m = {k: np.zeros_like(w) for k, w in weights.items()}
    v = {k: np.zeros_like(w) for k, w in weights.items()}
    hidden = np.triu(np.full((BLOCK, BLOCK), -np.inf, np.float32), 1)
    scale = np.float32(1 / math.sqrt(WIDTH // HEADS))
    c, a = np.float32(math.sqrt(2 / math.pi)), np.float32(0.044715)
    data = batches()

    def norm(x, weight):  # type: ignore[no-untyped-def]
        centred = x - anp.mean(x, axis=-1, keepdims=True)
        variance = anp.mean(centred * centred, axis=-1, keepdims=True)
        return centred / anp.sqrt(variance + np.float32(1e-5)) * weight

    def loss_of(w, tokens, targets):  # type: ignore[no-untyped-def]
        x = w["tokens"][tokens] + w["positions"]
        for i in range(LAYERS):
            qkv = anp.dot(norm(x, w[f"{i}.norm1"]), w[f"{i}.qkv"].T)
            qkv = anp.reshape(qkv, (BATCH, BLOCK, 3, HEADS, WIDTH // HEADS))
            q, k, val = (anp.transpose(qkv[:, :, n], (0, 2, 1, 3)) for n in range(3))
            scores = anp.matmul(q, anp.transpose(k, (0, 1, 3, 2))) * scale + hidden
            e = anp.exp(scores - anp.max(scores, axis=-1, keepdims=True))
            heads = anp.matmul(e / anp.sum(e, axis=-1, keepdims=True), val)
            heads = anp.reshape(anp.transpose(heads, (0, 2, 1, 3)), (BATCH, BLOCK, WIDTH))
            x = x + anp.dot(heads, w[f"{i}.proj"].T)
            u = anp.dot(norm(x, w[f"{i}.norm2"]), w[f"{i}.up"].T)
            half = np.float32(0.5)
            h = half * u * (np.float32(1) + anp.tanh(c * (u + a * u * u * u)))
            x = x + anp.dot(h, w[f"{i}.down"].T)
        logits = anp.reshape(anp.dot(norm(x, w["norm"]), w["tokens"].T), (-1, VOCAB))
        shifted = logits - anp.max(logits, axis=-1, keepdims=True)
        lse = anp.log(anp.sum(anp.exp(shifted), axis=-1))
        picked = shifted[np.arange(BATCH * BLOCK), targets.reshape(-1)]
        return anp.mean(lse - picked)

    gradient = value_and_grad(loss_of)
    count = 0

    def step() -> float:
        nonlocal count
        count += 1
        loss, grads = gradient(weights, *next(data))
        correct1, correct2 = 1 - BETAS[0] ** count, 1 - BETAS[1] ** count
        for name, w in weights.items():
            g = grads[name]
            m[name] += np.float32(1 - BETAS[0]) * (g - m[name])
            v[name] += np.float32(1 - BETAS[1]) * (g * g - v[name])
            if w.ndim > 1:
                w *= np.float32(1 - LR * DECAY)
            scale_of_step = np.sqrt(v[name]) * np.float32(1 / math.sqrt(correct2)) + np.float32(EPS)
            w -= np.float32(LR / correct1) * m[name] / scale_of_step
        return float(loss)

    return step
