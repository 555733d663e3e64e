"""Llama: its parts and options, causality, the cache, positions and masks, generation, errors."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygen as tg
from tinygen.errors import DtypeError, OutOfRangeError, ShapeError, UsageError
from tinygen.models.transformer import GPT, GPTConfig, Llama, LlamaConfig
from tinygen.models.transformer.rope import DynamicScaling

SIZES = {"vocab_size": 11, "block_size": 8, "n_layer": 2, "n_head": 4, "width": 16}
CONFIGS = {
    "plain": {},
    "grouped": {"n_kv_head": 2},
    "window": {"n_kv_head": 1, "window": 3},
    "window in one block": {"window": (None, 2)},
    "qwen": {"qkv_bias": True, "qk_norm": True, "tied": True, "head_dim": 6, "hidden": 10},
}


def generator(seed=0):
    return tg.random.Generator(seed)


def model64(config):
    """A model in float64 whose weights are large enough for every path to matter."""
    kind = GPT if isinstance(config, GPTConfig) else Llama
    model = kind(config, rng=generator()).to(dtype="float64")
    for name, p in model.named_parameters():
        p.data[...] += 0.3 * generator(name).normal(p.shape, "float64")
    return model


@pytest.fixture(params=CONFIGS)
def model(request):
    return model64(LlamaConfig(**SIZES, **CONFIGS[request.param]))


def tokens(*shape, seed="tokens"):
    return generator(seed).integers(0, SIZES["vocab_size"], shape)


def test_what_is_left_out_of_a_config_is_derived():
    config = LlamaConfig(**SIZES)
    assert (config.n_groups, config.features, config.mlp_width) == (4, 4, 64)
    assert LlamaConfig(32000, 2048, 32, 32, 4096).mlp_width == 10944  # 8/3 4096 = 10922.7
    assert config.windows == (None, None)


@pytest.mark.parametrize("position", [0, 3, 7])
def test_no_output_depends_on_a_later_position(model, position):
    """Causality: d logits[t] / d x[s] is exactly 0 for s > t, and not 0 for s = t."""
    embedded = []
    model.token_embedding.register_forward_hook(
        lambda module, args, result: (
            embedded.append(result.detach().requires_grad_()) or embedded[-1]
        )
    )
    logits = model(tokens(2, 8))
    weight = generator("cotangent").normal((2, 11), "float64")
    (logits[:, position] * weight).sum().backward()
    grad = abs(embedded[0].grad.numpy()).max(axis=-1)
    assert (grad[:, position + 1 :] == 0).all()
    assert (grad[:, position] > 0).all()


def test_a_window_hides_what_lies_before_it():
    """Through two blocks with windows of 3, position 7 sees no further back than position 3."""
    model = model64(LlamaConfig(**SIZES, window=3))
    x = tokens(1, 8)
    other = x.copy()
    other[0, :3] = (x[0, :3] + 1) % 11
    change = abs(model(other).numpy() - model(x).numpy()).max(axis=(0, 2))
    assert change[7] == 0
    assert (change[:7] > 0).all()


@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_cached_logits_are_the_full_ones_however_the_text_is_cut(data):
    config = LlamaConfig(**SIZES, **CONFIGS[data.draw(st.sampled_from(sorted(CONFIGS)))])
    model = model64(config)
    batch, length = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 8))
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, length - 1)))))
    x = tokens(batch, length)
    with model.inference():
        full = model(x).numpy()
        cache = model.new_cache()
        pieces = [model(part, cache).numpy() for part in np.split(x, cuts, axis=1) if part.size]
    error = abs(np.concat(pieces, axis=1) - full).max()
    assert error <= 1e-12 * abs(full).max()


def test_only_differences_of_positions_matter(model):
    x = tokens(2, 6)
    with model.inference():
        full = model(x).numpy()
        moved = model(x, positions=np.arange(100, 106)).numpy()
    assert abs(moved - full).max() <= 1e-11 * abs(full).max()


@pytest.mark.parametrize("config", [LlamaConfig(**SIZES, n_kv_head=2), GPTConfig(**SIZES)])
def test_texts_of_several_lengths_share_a_batch(config):
    """Padded on the left, with positions and a mask of what is text: the logits of each alone."""
    model = model64(config)
    x, lengths = tokens(3, 7), [7, 4, 1]
    positions = np.stack([np.arange(7) - (7 - n) for n in lengths])
    text = (positions >= 0)[:, None, None, :]  # (B, 1, 1, T_k)
    with model.inference():
        together = model(x, positions=np.maximum(positions, 0), mask=text).numpy()
        for row, n in enumerate(lengths):
            alone = model(x[row : row + 1, 7 - n :]).numpy()[0]
            error = abs(together[row, 7 - n :] - alone).max()
            assert error <= 1e-12 * abs(alone).max()


def test_positions_that_are_given_are_the_default_ones(model):
    x = tokens(2, 5)
    one = model(x).numpy()
    assert np.array_equal(one, model(x, positions=np.arange(5)).numpy())
    assert np.allclose(one, model(x, positions=np.tile(np.arange(5), (2, 1))).numpy(), rtol=1e-13)


@pytest.mark.parametrize("length", [1, 8, 11])
def test_greedy_generation_is_the_likeliest_token_each_time_beyond_the_window_too(model, length):
    x = tokens(2, length)
    found = np.stack(list(model.generate(x, max_new_tokens=12, temperature=0)), axis=1)
    for _ in range(12):
        with model.inference():
            logits = model(x[:, -8:]).numpy()
        x = np.concat([x, logits[:, -1].argmax(-1)[:, None]], axis=1)
    assert np.array_equal(found, x[:, -12:])


def test_a_text_longer_than_the_block_is_computed_too_and_dynamic_scaling_sees_its_length():
    scaled = model64(LlamaConfig(**SIZES, rope_scaling=DynamicScaling(2.0, 8)))
    plain = model64(LlamaConfig(**SIZES))
    x = tokens(1, 12)
    assert np.array_equal(scaled(x[:, :8]).numpy(), plain(x[:, :8]).numpy())
    assert not np.allclose(scaled(x).numpy(), plain(x).numpy(), rtol=1e-6)
    assert np.array_equal(scaled(x, positions=np.arange(12)).numpy(), scaled(x).numpy())


def test_initial_weights_make_a_uniform_guess():
    model = Llama(LlamaConfig(**{**SIZES, "n_layer": 8, "width": 64}), rng=generator())
    for name, p in model.named_parameters():
        if "norm" in name:
            assert (p.data == 1).all()
        else:
            std = 0.02 / (4 if ".out." in name or ".down." in name else 1)
            assert abs(p.data.std() / std - 1) <= 5 / math.sqrt(2 * p.size)
    loss = model.loss(tokens(3, 8), tokens(3, 8, seed=1)).item()
    assert abs(loss - math.log(11)) <= 0.1


def test_dropout_acts_in_training_only():
    model = Llama(LlamaConfig(**SIZES, dropout=0.5), rng=generator())
    x = tokens(2, 6)
    assert not np.array_equal(model(x).numpy(), model(x).numpy())
    model.eval()
    assert np.array_equal(model(x).numpy(), model(x).numpy())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m(tokens(5)), ShapeError, r"\(B, T\)"),
        (lambda m: m(np.ones((1, 2))), DtypeError, "integers, not float64"),
        (lambda m: m(np.array([[0, 11]])), OutOfRangeError, "11"),
        (lambda m: m(tokens(1, 2), positions=np.arange(3)), ShapeError, r"positions .* \(3,\)"),
        (lambda m: m(tokens(1, 2), positions=np.ones(2)), DtypeError, "positions .* integers"),
        (lambda m: m(tokens(1, 2), positions=[0, 1]), DtypeError, "positions .* integers"),
    ],
)
def test_bad_input_is_explained(call, error, message):
    with pytest.raises(error, match=message):
        call(Llama(LlamaConfig(**SIZES), rng=generator()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 0}, "vocab_size is 0"),
        ({"n_kv_head": 3}, "n_kv_head is 3; it must divide the 4"),
        ({"n_kv_head": 0}, "n_kv_head is 0"),
        ({"width": 18}, "width 18 cannot be cut into 4 heads"),
        ({"width": 12}, "head_dim is 3; .* even"),
        ({"head_dim": 5}, "head_dim is 5; .* even"),
        ({"hidden": 0}, "hidden is 0"),
        ({"dropout": 1.0}, r"dropout is 1\.0"),
        ({"rope_base": 0}, "rope_base is 0"),
        ({"eps": -1}, "eps is -1"),
        ({"window": 0}, "window is 0"),
        ({"window": (1, 2, 3)}, "3 entries for 2 blocks"),
    ],
)
def test_an_impossible_config_is_explained(change, message):
    with pytest.raises(UsageError, match=message):
        LlamaConfig(**{**SIZES, **change})
