"""GPT: causality, the cache, generation, initial weights, a golden loss curve, errors."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygen as tg
from tinygen import nn, optim
from tinygen.errors import DtypeError, OutOfRangeError, ShapeError, UsageError
from tinygen.models.transformer import GPT, GPTConfig

CONFIG = GPTConfig(vocab_size=11, block_size=8, n_layer=2, n_head=2, width=12)


def generator(seed=0):
    return tg.random.Generator(seed)


def model64(config=CONFIG):
    """A model in float64 whose weights are large enough for every path to matter."""
    model = GPT(config, rng=generator()).to(dtype="float64")
    for p in model.parameters():
        p.data[...] += 0.3 * generator(f"{p.shape}").normal(p.shape, "float64")
    return model


def tokens(*shape, seed="tokens"):
    return generator(seed).integers(0, CONFIG.vocab_size, shape)


def test_logits_have_one_row_a_position():
    model = GPT(CONFIG, rng=generator())
    logits = model(tokens(3, 5))
    assert logits.shape == (3, 5, 11)
    assert logits.dtype == np.float32
    # An untrained model knows nothing: it is as good as a uniform guess.
    loss = model.loss(tokens(3, 8), tokens(3, 8, seed=1)).item()
    assert abs(loss - math.log(11)) <= 0.05


def test_initial_weights_are_those_of_gpt2():
    config = GPTConfig(vocab_size=64, block_size=32, n_layer=8, n_head=4, width=64)
    model = GPT(config, rng=generator())
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            assert not p.data.any()
        elif "norm" in name:
            assert (p.data == 1).all()
        else:
            narrow = ".out." in name or ".down." in name
            std = 0.02 / (4 if narrow else 1)
            assert abs(p.data.std() / std - 1) <= 5 / math.sqrt(2 * p.size)


def test_the_head_is_the_token_embedding():
    model = GPT(CONFIG, rng=generator())
    names = [name for name, _ in model.named_parameters()]
    assert names[:3] == [
        "token_embedding.weight",
        "position_embedding.weight",
        "blocks.0.norm1.weight",
    ]
    assert "blocks.1.attn.qkv.weight" in names
    width, layer = 12, 12 * 12 * 12 + 13 * 12
    assert model.n_parameters == (11 + 8) * width + 2 * layer + 2 * width
    assert not any(
        "bias" in name
        for name, _ in GPT(
            GPTConfig(11, 8, 1, 2, 12, bias=False), rng=generator()
        ).named_parameters()
    )


@pytest.mark.parametrize("position", range(8))
def test_no_output_depends_on_a_later_position(position):
    """Causality: d logits[t] / d x[s] is exactly 0 for s > t, and not 0 for s = t."""
    model = model64()
    model.token_embedding.register_forward_hook(
        lambda module, args, result: (
            embedded.append(result.detach().requires_grad_()) or embedded[-1]
        )
    )
    embedded = []
    logits = model(tokens(2, 8))
    weight = generator("cotangent").normal((2, 11), "float64")
    (logits[:, position] * weight).sum().backward()
    grad = embedded[0].grad.numpy()
    assert (grad[:, position + 1 :] == 0).all()
    assert (abs(grad[:, : position + 1]).max(axis=-1) > 0).all()


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_cached_logits_are_the_full_ones_however_the_text_is_cut(data):
    model = model64()
    batch, length = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 8))
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, length - 1)))))
    x = tokens(batch, length)
    with model.inference():
        full = model(x).numpy()
        cache = model.new_cache()
        pieces = [model(part, cache).numpy() for part in np.split(x, cuts, axis=1) if part.size]
    error = abs(np.concat(pieces, axis=1) - full).max()
    assert error <= 1e-12 * abs(full).max()


def greedy(model, x, n):
    """The likeliest continuation, by the whole model each time."""
    for _ in range(n):
        with model.inference():
            logits = model(x[:, -CONFIG.block_size :]).numpy()
        x = np.concat([x, logits[:, -1].argmax(-1)[:, None]], axis=1)
    return x[:, -n:]


@pytest.mark.parametrize("length", [1, 5, 8, 11])
def test_greedy_generation_is_the_likeliest_token_each_time_beyond_the_window_too(length):
    model = model64()
    x = tokens(2, length)
    found = np.stack(list(model.generate(x, max_new_tokens=12, temperature=0)), axis=1)
    assert np.array_equal(found, greedy(model, x, 12))
    assert found.dtype == np.int64


def test_generation_is_lazy_reproducible_and_leaves_modes_alone():
    config = GPTConfig(11, 8, 2, 2, 12, dropout=0.5)
    model = model64(config)
    positions = {n: g.state_dict() for n, g in model.named_generators().items()}

    def draw(seed):
        options = {"temperature": 0.8, "top_k": 5, "top_p": 0.9, "rng": generator(seed)}
        return np.stack(list(model.generate(tokens(2, 3), max_new_tokens=10, **options)))

    assert np.array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))
    assert model.training
    assert positions == {n: g.state_dict() for n, g in model.named_generators().items()}
    stream = model.generate(tokens(1, 3), max_new_tokens=10**9, rng=generator())
    assert len(list(itertools.islice(stream, 3))) == 3
    assert (tg.tensor([1.0], requires_grad=True) * 2).requires_grad  # recording, in mid-stream
    assert list(model.generate(tokens(1, 3), max_new_tokens=0, rng=generator())) == []


def test_an_empty_batch_goes_through_the_model_and_the_cache():
    model = model64()
    assert model(tokens(0, 3)).shape == (0, 3, 11)
    found = list(model.generate(tokens(0, 3), max_new_tokens=2, rng=generator()))
    assert [chosen.shape for chosen in found] == [(0,), (0,)]


def test_a_tensor_of_tokens_serves_as_well():
    model = model64()
    x = tokens(2, 4)
    assert np.array_equal(model(tg.tensor(x)).numpy(), model(x).numpy())
    first, second = (
        np.stack(list(model.generate(t, max_new_tokens=3, temperature=0)))
        for t in (x, tg.tensor(x))
    )
    assert np.array_equal(first, second)


def test_the_loss_is_the_mean_of_minus_log_p():
    model = model64()
    x, y = tokens(2, 6), tokens(2, 6, seed=1)
    logits = model(x).numpy()
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -np.take_along_axis(log_p, y[..., None], axis=-1).mean()
    assert abs(model.loss(x, y).item() - expected) <= 1e-14 * abs(expected)


def test_dropout_acts_in_training_only_and_belongs_to_the_state():
    model = GPT(GPTConfig(11, 8, 1, 2, 12, dropout=0.5), rng=generator())
    assert list(model.named_generators()) == [
        "dropout.rng",
        "blocks.0.dropout.0.rng",
        "blocks.0.dropout.1.rng",
    ]
    x = tokens(2, 6)
    assert not np.array_equal(model(x).numpy(), model(x).numpy())
    model.eval()
    assert np.array_equal(model(x).numpy(), model(x).numpy())


def test_a_block_may_be_recomputed_in_the_backward_pass():
    model = model64(GPTConfig(11, 8, 2, 2, 12, dropout=0.3))
    x, y = tokens(2, 6), tokens(2, 6, seed=1)
    positions = {n: g.state_dict() for n, g in model.named_generators().items()}

    def gradients():
        for name, stream in model.named_generators().items():
            stream.load_state_dict(positions[name])
        for p in model.parameters():
            p.grad = None
        model.loss(x, y).backward()
        return [p.grad.numpy() for p in model.parameters()]

    plain = gradients()
    for block in model.blocks:
        block.forward = lambda x, inner=block.forward, **_: tg.checkpoint(inner, x)
    for a, b in zip(plain, gradients(), strict=True):
        assert np.allclose(a, b, rtol=1e-12, atol=1e-15)


GOLDEN = [
    2.413702,
    2.340483,
    2.292285,
    2.233965,
    2.165827,
    2.098586,
    2.026888,
    1.960248,
    1.895622,
    1.834512,
]
"""Losses of ten steps, equal to PyTorch's on the same model (tests/oracle/test_torch_gpt.py)."""


def test_ten_steps_of_training_follow_the_golden_curve():
    model = GPT(CONFIG, rng=generator()).to(dtype="float64")
    optimizer = optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    x = tokens(4, 9)
    losses = []
    for _ in range(10):
        loss = model.loss(x[:, :-1], x[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    assert losses == pytest.approx(GOLDEN, rel=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m(tokens(1, 9)), ShapeError, "9 positions .* block_size 8"),
        (lambda m: m(tokens(5)), ShapeError, r"\(B, T\)"),
        (lambda m: m(np.ones((1, 2))), DtypeError, "integers, not float64"),
        (lambda m: m([[1, 2]]), DtypeError, "integers, not list"),
        (lambda m: m(np.array([[0, 11]])), OutOfRangeError, "11"),
        (lambda m: m(np.array([[-1, 0]])), OutOfRangeError, "-1"),
        (lambda m: m.loss(tokens(1, 2), np.array([[0, 11]])), OutOfRangeError, "11"),
        (lambda m: m.loss(tokens(1, 2), tokens(1, 3)), ShapeError, "target"),
        (lambda m: m.loss(tokens(0, 2), tokens(0, 2)), ShapeError, r"shape \(0, 2\)"),
        (lambda m: m.generate(tokens(1, 0), max_new_tokens=1), ShapeError, "one token or more"),
        (lambda m: m.generate(tokens(5), max_new_tokens=1), ShapeError, r"\(B, T\)"),
        (lambda m: m.generate([[1]], max_new_tokens=1), DtypeError, "integers, not list"),
        (lambda m: m.generate(tokens(1, 1), max_new_tokens=-1), UsageError, "max_new_tokens"),
        (lambda m: m.generate(tokens(1, 1), max_new_tokens=1.5), UsageError, "max_new_tokens"),
        (lambda m: m.generate(tokens(1, 1), max_new_tokens=1, top_k=2.5), UsageError, "top_k"),
        (lambda m: m.generate(tokens(1, 1), max_new_tokens=1), UsageError, "rng"),
        (
            lambda m: m.generate(tokens(1, 1), max_new_tokens=1, temperature=-1.0),
            UsageError,
            "temperature",
        ),
    ],
)
def test_bad_input_is_explained(call, error, message):
    with pytest.raises(error, match=message):
        call(GPT(CONFIG, rng=generator()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 0}, "vocab_size is 0"),
        ({"n_layer": 0}, "n_layer is 0"),
        ({"n_layer": 1.5}, r"n_layer is 1\.5"),
        ({"block_size": True}, "block_size is True"),
        ({"width": "12"}, "width is '12'"),
        ({"dropout": "a"}, "dropout is 'a'"),
        ({"width": 13}, "width 13 cannot be cut into 2 heads"),
        ({"dropout": 1.0}, r"dropout is 1\.0"),
        ({"dropout": math.nan}, "dropout is nan"),
    ],
)
def test_an_impossible_config_is_explained(change, message):
    sizes = {"vocab_size": 11, "block_size": 8, "n_layer": 2, "n_head": 2, "width": 12}
    with pytest.raises(UsageError, match=message):
        GPTConfig(**{**sizes, **change})


def test_a_second_forward_does_not_grow_the_model():
    model = GPT(CONFIG, rng=generator())
    assert isinstance(model.blocks[0], nn.TransformerBlock)
    before = list(model.state_dict())
    model(tokens(1, 2))
    assert list(model.state_dict()) == before
