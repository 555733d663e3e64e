"""Layers: their values in plain NumPy, initial ranges, errors; attention and its cache."""

import math

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn
from tinygen.errors import DtypeError, GraphError, ShapeError, UsageError


def generator(seed=0):
    return tg.random.Generator(seed)


def inputs(*shape):
    return generator("inputs").normal(shape, "float64")


def test_linear_is_affine_and_starts_in_its_range():
    layer = nn.Linear(9, 5, rng=generator())
    assert abs(layer.weight.data).max() <= 1 / 3
    assert abs(layer.bias.data).max() <= 1 / 3
    layer.to(dtype="float64")
    x = inputs(2, 3, 9)
    expected = x @ layer.weight.data.T + layer.bias.data
    assert np.allclose(layer(x).numpy(), expected, rtol=0, atol=1e-14)
    assert nn.Linear(9, 5, bias=False, rng=generator()).n_parameters == 45
    relu = nn.Linear(9, 5, activation="relu", rng=generator()).to(dtype="float64")
    assert np.allclose(relu(x).numpy(), np.maximum(expected, 0), rtol=0, atol=1e-14)


def test_embedding_looks_rows_up():
    layer = nn.Embedding(6, 3, rng=generator())
    ids = np.array([[5, 0], [2, 5]])
    assert np.array_equal(layer(ids).numpy(), layer.weight.data[ids])


def test_norms():
    x = inputs(4, 7) * 3 + 1
    y = nn.LayerNorm(7, eps=0.0).to(dtype="float64")(x).numpy()
    assert abs(y.mean(-1)).max() <= 1e-14
    assert abs(y.var(-1) - 1).max() <= 1e-13
    assert [n for n, _ in nn.LayerNorm(7, bias=False).named_parameters()] == ["weight"]
    y = nn.RMSNorm(7, eps=0.0).to(dtype="float64")(x).numpy()
    assert abs((y * y).mean(-1) - 1).max() <= 1e-13


def test_dropout_only_in_training_and_each_layer_with_masks_of_its_own():
    rng = generator()
    first, second = nn.Dropout(0.5, rng=rng), nn.Dropout(0.5, rng=rng)
    x = np.ones((50, 50))
    a, b, later = first(x), second(x), first(x)
    assert set(np.unique(a)) == {0.0, 2.0}
    assert abs((a == 0).mean() - 0.5) <= 5 * 0.5 / 50
    assert abs((a == b).mean() - 0.5) <= 5 * 0.5 / 50
    assert abs((a == later).mean() - 0.5) <= 5 * 0.5 / 50
    assert np.array_equal(first.eval()(x), x)
    assert np.array_equal(nn.Dropout(0.0, rng=rng)(x), x)
    with pytest.raises(UsageError, match=r"p is 1\.0"):
        nn.Dropout(1.0, rng=rng)
    with pytest.raises(UsageError, match="p is 'a'"):
        nn.Dropout("a", rng=rng)


def test_the_position_of_dropout_is_its_generators():
    layer = nn.Dropout(0.5, rng=generator())
    x = np.ones(100)
    state = layer.named_generators()["rng"].state_dict()
    first = layer(x)
    layer.named_generators()["rng"].load_state_dict(state)
    assert np.array_equal(layer(x), first)


@pytest.mark.parametrize(
    ("layer", "function"),
    [
        (nn.ReLU(), lambda x: np.maximum(x, 0)),
        (nn.LeakyReLU(0.2), lambda x: np.where(x > 0, x, 0.2 * x)),
        (nn.SiLU(), lambda x: x / (1 + np.exp(-x))),
        (nn.GELU(), lambda x: x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2),
        (
            nn.GELU("tanh"),
            lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
        ),
        (nn.Tanh(), np.tanh),
        (nn.Sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
        (nn.Softplus(), lambda x: np.log1p(np.exp(x))),
    ],
    ids=lambda value: repr(value) if isinstance(value, nn.Module) else "",
)
def test_activations(layer, function):
    x = inputs(100)
    assert np.allclose(layer(x), function(x), rtol=1e-13, atol=1e-15)


def test_containers():
    rng = generator()
    shared = nn.Linear(3, 3, rng=rng)
    row = nn.Sequential(shared, nn.Tanh(), shared)
    x = inputs(2, 3).astype("float32")
    assert np.array_equal(row(x).numpy(), shared(shared(x).tanh()).numpy())
    assert [name for name, _ in row.named_parameters()] == ["0.weight", "0.bias"]
    modules = nn.ModuleList([nn.Tanh()])
    modules.append(shared)
    assert len(modules) == 2
    assert modules[1] is shared
    assert list(modules) == [modules[0], shared]
    assert list(modules.state_dict()) == ["1.weight", "1.bias"]


@pytest.mark.parametrize(
    ("base", "modules"),
    [
        (nn.Sequential, [nn.Tanh(), nn.LayerNorm(2)]),
        (nn.ModuleList, [[nn.Tanh(), nn.LayerNorm(2)]]),
    ],
)
def test_what_a_container_adds_belongs_to_it(base, modules):
    class Scaled(base):
        def __init__(self):
            super().__init__(*modules)
            self.scale = nn.Parameter(np.ones(2))
            self.heads = [nn.LayerNorm(2, bias=False)]

    names = ["1.weight", "1.bias", "scale", "heads.0.weight"]
    assert [name for name, _ in Scaled().named_parameters()] == names
    assert list(Scaled().state_dict()) == names


def plain_attention(layer, x, visible):
    """Head by head, in NumPy."""
    B, T, C = x.shape
    H, H_kv = layer.n_head, layer.n_kv_head
    D = C // H
    qkv = x @ layer.qkv.weight.data.T + layer.qkv.bias.data
    out = np.empty((B, T, C))
    for b in range(B):
        for h in range(H):
            g = h // (H // H_kv)
            q = qkv[b, :, h * D : (h + 1) * D]
            k = qkv[b, :, (H + g) * D : (H + g + 1) * D]
            v = qkv[b, :, (H + H_kv + g) * D : (H + H_kv + g + 1) * D]
            scores = np.where(visible, q @ k.T / math.sqrt(D), -np.inf)
            probs = np.exp(scores - scores.max(-1, keepdims=True))
            out[b, :, h * D : (h + 1) * D] = probs / probs.sum(-1, keepdims=True) @ v
    return out @ layer.out.weight.data.T + layer.out.bias.data


@pytest.mark.parametrize("n_kv_head", [None, 2, 1])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_that_of_each_head(n_kv_head, causal):
    layer = nn.MultiHeadAttention(12, 4, n_kv_head=n_kv_head, causal=causal, rng=generator())
    layer.to(dtype="float64")
    x = inputs(2, 5, 12)
    visible = np.tril(np.ones((5, 5), bool)) if causal else np.ones((5, 5), bool)
    assert np.allclose(layer(x).numpy(), plain_attention(layer, x, visible), rtol=0, atol=1e-14)
    visible = visible & (np.arange(5) != 2) | np.eye(5, dtype=bool)
    masked = layer(x, mask=visible).numpy()
    assert np.allclose(masked, plain_attention(layer, x, visible), rtol=0, atol=1e-14)


@pytest.mark.parametrize("pieces", [(6,), (1, 1, 1, 1, 1, 1), (3, 1, 2)])
@pytest.mark.parametrize("n_kv_head", [4, 2])
def test_cached_attention_is_that_of_the_whole_sequence(pieces, n_kv_head):
    layer = nn.MultiHeadAttention(12, 4, n_kv_head=n_kv_head, causal=True, rng=generator())
    layer.to(dtype="float64")
    x = inputs(2, 6, 12)
    cache = nn.KeyValueCache(7)
    with tg.no_grad():
        parts = np.split(x, np.cumsum(pieces)[:-1], axis=1)
        found = np.concat([layer(part, cache=cache).numpy() for part in parts], axis=1)
        assert np.allclose(found, layer(x).numpy(), rtol=0, atol=1e-14)
    assert cache.length == 6


def test_a_cache_refuses_what_it_cannot_keep():
    layer = nn.MultiHeadAttention(4, 2, causal=True, rng=generator())
    cache = nn.KeyValueCache(3)
    x = np.ones((1, 2, 4), np.float32)
    with pytest.raises(GraphError, match="no_grad"):
        layer(x, cache=cache)
    with tg.no_grad():
        layer(x, cache=cache)
        with pytest.raises(ShapeError, match="capacity 3"):
            layer(x, cache=cache)
        with pytest.raises(ShapeError, match="batch 2"):
            layer(np.ones((2, 1, 4), np.float32), cache=cache)
    assert cache.length == 2


@pytest.mark.parametrize(
    "wrong",
    [
        (np.ones((1, 1, 1, 2), np.float32),) * 2,
        (np.ones((1, 2, 1, 1), np.float32),) * 2,
        (np.ones((1, 2, 1, 2), np.float64),) * 2,
        (np.ones((1, 2, 1, 2), np.float32), np.ones((1, 1, 1, 2), np.float32)),
        (np.ones((2, 1, 2), np.float32),) * 2,
    ],
)
def test_a_cache_neither_broadcasts_nor_casts(wrong):
    """Other heads, another width, another dtype, values unlike their keys, no batch."""
    cache = nn.KeyValueCache(3)
    cache.append(*(np.ones((1, 2, 1, 2), np.float32),) * 2)
    with pytest.raises((ShapeError, DtypeError), match=r"a cache (of|takes)"):
        cache.append(*wrong)


def test_sizes_may_be_numpys_integers():
    assert nn.Linear(np.int64(3), np.int32(2), rng=generator())(np.ones((1, 3), "f")).shape == (
        1,
        2,
    )


def test_a_block_is_two_residual_branches():
    block = nn.TransformerBlock(8, 2, hidden=12, causal=True, rng=generator()).to(dtype="float64")
    x = inputs(2, 3, 8)
    middle = x + block.attn(block.norm1(x)).numpy()
    expected = middle + block.mlp.down(block.mlp.up(block.norm2(middle))).numpy()
    assert np.allclose(block(x).numpy(), expected, rtol=0, atol=1e-14)
    assert block.mlp.up.weight.shape == (12, 8)


def test_a_block_shows_its_settings():
    block = nn.TransformerBlock(8, 4, n_kv_head=2, causal=True, dropout=0.1, rng=generator())
    expected = """
TransformerBlock()                                           800
  norm1: LayerNorm(8)                                           16
  attn: MultiHeadAttention(n_head=4, n_kv_head=2, causal)      216
    qkv: Linear(8 -> 16)                                       144
    out: Linear(8 -> 8)                                         72
  norm2: LayerNorm(8)                                           16
  mlp: MLP()                                                   552
    up: Linear(8 -> 32, activation='gelu')                     288
    down: Linear(32 -> 8)                                      264
  dropout.0: Dropout(p=0.1)
  dropout.1: Dropout(p=0.1)
"""
    assert repr(block).split() == expected.split()
    assert repr(nn.RMSNorm(3)).split() == ["RMSNorm(3)", "3"]


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: nn.Linear(0, 3, rng=rng),
        lambda rng: nn.Embedding(3, -1, rng=rng),
        lambda rng: nn.LayerNorm(2.5),
        lambda rng: nn.MultiHeadAttention(10, 4, rng=rng),
        lambda rng: nn.MultiHeadAttention(12, 4, n_kv_head=3, rng=rng),
    ],
)
def test_impossible_sizes_are_explained(make):
    with pytest.raises(UsageError, match=r"must be|multiple"):
        make(generator())
