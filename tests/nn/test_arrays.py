"""The twin of a module on plain arrays, and parameters that lie together."""

import copy

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn, ops, trace
from tinygen.models.transformer import GPT, GPTConfig, Llama, LlamaConfig
from tinygen.nn.arrays import lay_together, on_arrays

SIZES = {"vocab_size": 11, "block_size": 12, "n_layer": 2, "n_head": 2, "width": 8, "dropout": 0.5}
TOKENS = np.array([[1, 2, 3], [4, 5, 6]])


def built(kind):
    config = GPTConfig(**SIZES) if kind is GPT else LlamaConfig(**SIZES, qk_norm=True)
    return kind(config, rng=tg.random.Generator(0))


@pytest.mark.parametrize("kind", [GPT, Llama])
def test_a_twin_computes_what_the_module_does_in_eval_mode(kind):
    model = built(kind)
    twin = on_arrays(model)
    found = twin(TOKENS)
    assert type(found) is np.ndarray
    assert model.training  # dropout is the twin's affair
    assert np.array_equal(found, model.eval()(TOKENS).numpy())
    for parameter in model.parameters():
        parameter.data *= 1.5
    assert np.array_equal(twin(TOKENS), model(TOKENS).numpy())


def test_a_layer_of_the_users_own_stays_itself():
    class Doubled(nn.Linear):
        def forward(self, x, weight=None):
            return 2 * ops.linear(x, self.weight, self.bias)

    rng = tg.random.Generator(0)
    layers = nn.Sequential(
        nn.Linear(3, 4, rng=rng), Doubled(4, 2, rng=rng), nn.Dropout(0.5, rng=rng)
    )
    x = np.ones((1, 3), np.float32)
    assert np.array_equal(on_arrays(layers)(x), layers.eval()(x).numpy())


def test_a_session_lets_hooks_and_traces_see_every_layer():
    model, seen = built(GPT), []
    session = model.session()
    session.read(TOKENS)
    assert seen == []
    remove = model.blocks[0].register_forward_hook(
        lambda m, args, result: seen.append(type(result))
    )
    session.read(TOKENS[:, :1])
    assert seen == [tg.Tensor]
    seen.clear()
    later = model.session()  # begun while the hook was there
    remove()
    later.read(TOKENS)
    assert seen == []
    with trace.record() as record:
        session.read(TOKENS[:, :1])
    assert "attn" in record.table()


def test_a_session_of_a_model_with_the_users_own_layers_has_no_twin():
    class Own(nn.Linear):
        def forward(self, x, weight=None):
            return super().forward(x).detach()

    model = built(GPT)
    plain = model.session().read(TOKENS)
    own = copy.deepcopy(model)
    own.blocks[0].attn.out.__class__ = Own
    assert np.allclose(own.session().read(TOKENS), plain, rtol=1e-6)


def test_parameters_that_lie_together_are_the_same_and_train_on():
    model = built(GPT)
    before = model.state_dict()
    lay_together(model)
    first, *rest = model.parameters()
    assert all(np.shares_memory(p.data.base, first.data.base) for p in rest)
    after = model.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    optimizer = tg.optim.AdamW(model.parameters(), lr=0.1)
    model.loss(TOKENS, TOKENS).backward()
    optimizer.step()
    assert not np.array_equal(model.state_dict()["norm.weight"], before["norm.weight"])


def test_huge_pages_are_asked_for_where_they_help(monkeypatch):
    from tinygen.backend.numpy_backend import aligned

    monkeypatch.setattr(aligned, "HUGE_PAGE", 4096)
    large = aligned.in_huge_pages(5000, "float32")
    large[...] = 3
    assert large.shape == (5000,)
    assert large.flags.writeable
    assert large.ctypes.data % 64 == 0
    assert aligned.in_huge_pages(3, "float64").shape == (3,)
    monkeypatch.delattr(aligned.mmap, "MADV_HUGEPAGE", raising=False)
    assert aligned.in_huge_pages(5000, "float32").shape == (5000,)
