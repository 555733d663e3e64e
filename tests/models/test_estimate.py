"""What a model will cost, against what it does cost."""

import tracemalloc

import numpy as np
import pytest

import tinygen as tg
from tinygen import optim, trace
from tinygen.errors import UsageError
from tinygen.models.transformer import GPT, GPTConfig, Llama, LlamaConfig, estimate

SIZES = {"vocab_size": 11, "block_size": 8, "n_layer": 2, "n_head": 4, "width": 16}
CONFIGS = [
    GPTConfig(**SIZES),
    GPTConfig(**SIZES, bias=False, tied=False, hidden=20),
    LlamaConfig(**SIZES),
    LlamaConfig(**SIZES, tied=True, n_kv_head=2, head_dim=6, hidden=20, qk_norm=True),
    LlamaConfig(**SIZES, qkv_bias=True, out_bias=True, mlp_bias=True),
    LlamaConfig(**SIZES, qkv_bias=True, window=3),
]


def built(config):
    kind = GPT if isinstance(config, GPTConfig) else Llama
    return kind(config, rng=tg.random.Generator(0))


@pytest.mark.parametrize("config", CONFIGS)
def test_parameters_are_exact(config):
    assert estimate(config).parameters == built(config).n_parameters


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (GPTConfig(50257, 1024, 12, 12, 768), 124_439_808),  # Radford et al. 2019, as published
        (LlamaConfig(32000, 2048, 32, 32, 4096, hidden=11008), 6_738_415_616),  # Llama 1 7B
        (
            LlamaConfig(32000, 32768, 32, 32, 4096, n_kv_head=8, hidden=14336, window=4096),
            7_241_732_096,  # Mistral 7B
        ),
        (
            LlamaConfig(
                151936, 40960, 28, 16, 1024, n_kv_head=8, head_dim=128, hidden=3072,
                qk_norm=True, tied=True,
            ),
            596_049_920,  # Qwen3 0.6B
        ),
    ],
)  # fmt: skip
def test_published_models_have_the_published_numbers_of_parameters(config, parameters):
    assert estimate(config).parameters == parameters


@pytest.mark.parametrize("config", CONFIGS[:5])
def test_flops_are_those_of_the_trace(config):
    """The trace counts causal attention as half of all pairs, here it is (T + 1) / 2 keys."""
    model, tokens = built(config).eval(), np.zeros((3, config.block_size), int)
    with trace.record() as record, tg.no_grad():
        model(tokens)
    counted = sum(e.flops for e in record.events if e.op == "Linear")
    attention = sum(e.flops for e in record.events if "Attention" in e.op)
    found = estimate(config)
    assert counted == 2 * found.products * tokens.size
    rest = (found.forward_flops - 2 * found.products) * tokens.size
    assert rest == attention * (config.block_size + 1) // config.block_size
    assert found.training_flops == 3 * found.forward_flops


def test_a_window_saves_attention():
    full, windowed = (
        estimate(LlamaConfig(**{**SIZES, "block_size": 6}, window=w)) for w in (None, 2)
    )
    saved = full.forward_flops - windowed.forward_flops
    seen = 21, 11  # keys, by 6 queries: 1 + 2 + ... + 6, and 1 + 5 times 2
    assert abs(saved - 2 * 4 * 16 * (seen[0] - seen[1]) / 6) < 1  # FLOPs are whole numbers


@pytest.mark.parametrize(
    "config",
    [
        GPTConfig(300, 64, 3, 4, 96),
        GPTConfig(300, 64, 3, 4, 96, dropout=0.1, bias=False),
        LlamaConfig(300, 64, 3, 4, 96, n_kv_head=2, qk_norm=True),
    ],
)
def test_bytes_are_those_of_a_step_to_a_tenth(config):
    model, batch = built(config), 24
    tokens = np.zeros((batch, config.block_size), int)
    tracemalloc.start()
    optimizer = optim.AdamW(model.parameters())  # moves the parameters to its own memory
    for _ in range(2):
        tracemalloc.reset_peak()
        loss = model.loss(tokens, tokens)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert abs(estimate(config, batch).training_bytes / peak - 1) <= 0.1


def test_a_batch_is_a_number():
    with pytest.raises(UsageError, match="batch is 0"):
        estimate(CONFIGS[0], 0)
    assert "6,896 parameters; 0.04 MFLOP a token" in str(estimate(CONFIGS[0]))
