"""One token of the same GPT after another, twice: tinygen and PyTorch, both with a cache.

6 layers, 6 heads, width 384, block 256, 65 tokens: nanoGPT's Shakespeare model, 43 MB of weights in
float32. Each call gives the next greedy token of one text; a text is a prompt of 32 tokens and 224
more, and the pass over the prompt counts. Both start from the same parameters, so that their tokens
agree: a fast decoder that writes something else is no candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

LAYERS, HEADS, WIDTH, BLOCK, VOCAB, PROMPT = 6, 6, 384, 256, 65, 32


def initial_parameters() -> dict[str, np.ndarray]:
    """By tinygen's names; weights as (out, in), large enough for texts that do not repeat."""
    import tinygen as tg
    from tinygen.models.transformer import GPT

    model = GPT(_config(), rng=tg.random.Generator(0))
    rng = np.random.default_rng(0)
    return {
        name: value + (0.06 * rng.standard_normal(value.shape)).astype(np.float32)
        for name, value in model.state_dict().items()
    }


def prompts() -> Iterator[np.ndarray]:
    rng = np.random.default_rng(1)
    while True:
        yield rng.integers(0, VOCAB, (1, PROMPT))


def _config():
    from tinygen.models.transformer import GPTConfig

    return GPTConfig(VOCAB, BLOCK, LAYERS, HEADS, WIDTH)


def tinygen_step() -> Callable[[], float]:
    import tinygen as tg
    from tinygen.models.transformer import GPT

    tg.tune_allocator()
    model = GPT(_config(), rng=tg.random.Generator(0))
    model.load_state_dict(initial_parameters())

    def texts() -> Iterator[float]:
        for prompt in prompts():
            for token in model.generate(prompt, max_new_tokens=BLOCK - PROMPT, temperature=0):
                yield float(token[0])

    return texts().__next__


def torch_step() -> Callable[[], float]:
    """Eager, without a graph: one packed product for q, k and v, a cache that is written in place,
    and PyTorch's fused attention."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)
    w = {name: torch.tensor(value) for name, value in initial_parameters().items()}
    head_dim = WIDTH // HEADS

    def forward(tokens: torch.Tensor, start: int, keys: list, values: list) -> torch.Tensor:
        T = tokens.shape[1]
        stop = start + T
        x = w["token_embedding.weight"][tokens] + w["position_embedding.weight"][start:stop]
        for i in range(LAYERS):

            def affine(x: torch.Tensor, layer: str, i: int = i) -> torch.Tensor:
                name = f"blocks.{i}.{layer}"
                return functional.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

            def norm(x: torch.Tensor, layer: str, i: int = i) -> torch.Tensor:
                name = f"blocks.{i}.{layer}"
                return functional.layer_norm(x, (WIDTH,), w[f"{name}.weight"], w[f"{name}.bias"])

            qkv = affine(norm(x, "norm1"), "attn.qkv").view(1, T, 3, HEADS, head_dim)
            q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (1, H, T, D) each
            keys[i][:, :, start:stop] = k
            values[i][:, :, start:stop] = v
            out = functional.scaled_dot_product_attention(
                q, keys[i][:, :, :stop], values[i][:, :, :stop], is_causal=T > 1
            )
            x = x + affine(out.transpose(1, 2).reshape(1, T, WIDTH), "attn.out")
            h = functional.gelu(affine(norm(x, "norm2"), "mlp.up"), approximate="tanh")
            x = x + affine(h, "mlp.down")
        x = functional.layer_norm(x[:, -1], (WIDTH,), w["norm.weight"], w["norm.bias"])
        return functional.linear(x, w["token_embedding.weight"])  # (1, V)

    def texts() -> Iterator[float]:
        shape = (1, HEADS, BLOCK, head_dim)
        for prompt in prompts():
            keys, values = ([torch.empty(shape) for _ in range(LAYERS)] for _ in range(2))
            tokens, start = torch.tensor(prompt), 0
            for _ in range(BLOCK - PROMPT):
                logits = forward(tokens, start, keys, values)
                start += tokens.shape[1]
                tokens = logits.argmax(dim=-1, keepdim=True)
                yield float(tokens[0, 0])

    generator = texts()

    def step() -> float:
        with torch.inference_mode():
            return next(generator)

    return step
