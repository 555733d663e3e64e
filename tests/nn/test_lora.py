"""Low-rank adapters: nothing at first, equal when merged, as good as full tuning at full rank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn, ops
from tinygen.checkpoints import load_state, save_state
from tinygen.errors import CheckpointError, UsageError
from tinygen.models.transformer import GPT, GPTConfig, Llama, LlamaConfig
from tinygen.random import Generator
from tinygen.testing import check_grad

TOKENS = np.random.default_rng(0).integers(0, 11, (2, 8))


def gpt() -> GPT:
    return GPT(GPTConfig(11, 8, 2, 2, 16), rng=Generator(0)).to(dtype="float64")


def llama() -> Llama:
    config = LlamaConfig(11, 8, n_layer=1, n_head=2, width=16)
    return Llama(config, rng=Generator(0)).to(dtype="float64")


def adapted(model: nn.Module, **options: Any) -> nn.Module:
    """With adapters that are not 0."""
    nn.add_lora(model, rank=3, rng=Generator(1), **options)
    for parameter in nn.lora_parameters(model):
        parameter.data[...] = 0.1 * Generator(2).normal(parameter.shape, "float64")
    return model


@pytest.mark.parametrize("make", [gpt, llama])
def test_at_first_it_is_the_identity_and_nothing_else_learns(make: Any) -> None:
    model = make()
    before = model(TOKENS).numpy()
    names = nn.add_lora(model, rank=2, rng=Generator(1))
    assert names
    np.testing.assert_array_equal(model(TOKENS).detach().numpy(), before)
    model.loss(TOKENS[:, :-1], TOKENS[:, 1:]).backward()
    learning = {name for name, p in model.named_parameters() if p.grad is not None}
    assert learning == {f"{name}.{narrow}" for name in names for narrow in ("down", "up")}
    assert set(nn.lora_parameters(model)) == {p for p in model.parameters() if p.requires_grad}


@pytest.mark.parametrize("make", [gpt, llama])
def test_merged_equals_unmerged(make: Any) -> None:
    model = adapted(make())
    wanted, reference = model(TOKENS).detach().numpy(), make()(TOKENS).detach().numpy()
    assert np.abs(wanted - reference).max() > 1e-3
    with nn.without_lora(model):
        np.testing.assert_array_equal(model(TOKENS).detach().numpy(), reference)
    nn.merge_lora(model)
    assert not any(isinstance(part, nn.LoRALinear) for part in model.modules())
    assert [name for name, _ in model.named_parameters()] == [
        name for name, _ in make().named_parameters()
    ]
    assert all(parameter.requires_grad for parameter in model.parameters())
    np.testing.assert_allclose(model(TOKENS).detach().numpy(), wanted, rtol=0, atol=1e-12)


def test_generation_sees_the_adapters() -> None:
    model = adapted(gpt())
    written = [int(t[0]) for t in model.generate(TOKENS[:1, :3], max_new_tokens=5, temperature=0)]
    nn.merge_lora(model)
    again = [int(t[0]) for t in model.generate(TOKENS[:1, :3], max_new_tokens=5, temperature=0)]
    assert written == again


@pytest.mark.parametrize("activation", [None, "gelu", "silu"])
def test_gradients(activation: str | None) -> None:
    base = nn.Linear(4, 3, activation=activation, rng=Generator(0)).to(dtype="float64")
    layer = nn.LoRALinear(base, 2, 3.0, rng=Generator(1))
    rng = np.random.default_rng(0)
    x, down, up = (
        tg.tensor(rng.standard_normal(shape), requires_grad=True)
        for shape in ((5, 4), (2, 4), (3, 2))
    )

    def y(x: Any, down: Any, up: Any) -> Any:
        vars(layer).update(down=down, up=up)
        return layer(x)

    check_grad(y, x, down, up, order=2)
    effective = base.weight + layer.scale * (up @ down)
    wanted = ops.linear(x, effective, base.bias, activation)
    np.testing.assert_allclose(y(x, down, up).detach().numpy(), wanted.detach().numpy(), atol=1e-14)


def losses(parameters: Any, model: Any, x: Any, target: Any, steps: int) -> float:
    optimizer = tg.optim.AdamW(parameters, lr=3e-2, weight_decay=0.0)
    for _ in range(steps):
        loss = ops.mse_loss(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(ops.mse_loss(model(x), target).item())


def test_full_rank_reaches_full_tuning_and_a_low_one_what_it_can() -> None:
    """A layer that is to become another one: at rank r all but the r largest of the change's
    singular values is out of reach (Eckart and Young)."""
    rng = np.random.default_rng(3)
    x = np.eye(6)
    change = rng.standard_normal((6, 6))
    values = np.linalg.svd(change)[1]

    def layer() -> nn.Linear:
        return nn.Linear(6, 6, bias=False, rng=Generator(0)).to(dtype="float64")

    target = x @ (layer().weight.detach().numpy() + change).T
    full = layer()
    assert losses(full.parameters(), full, x, target, 800) < 1e-6
    for rank in (6, 2):
        holder = nn.Sequential(layer())
        nn.add_lora(holder, rank=rank, rng=Generator(1))
        reached = losses(nn.lora_parameters(holder), holder, x, target, 2500)
        least = (values[rank:] ** 2).sum() / 36
        assert least - 1e-9 <= reached <= least + 1e-3


def test_adapters_are_saved_alone_and_loaded_on_top(tmp_path: Path) -> None:
    model = adapted(gpt(), targets=["blocks.*.attn.*"])
    save_state(tmp_path / "adapter", nn.lora_state(model))
    size = sum(file.stat().st_size for file in (tmp_path / "adapter").iterdir())
    assert size < model.n_parameters * 8
    other = gpt()
    names = nn.load_lora_state(other, load_state(tmp_path / "adapter"))
    assert names == [f"blocks.{i}.attn.{part}" for i in range(2) for part in ("qkv", "out")]
    np.testing.assert_array_equal(other(TOKENS).detach().numpy(), model(TOKENS).detach().numpy())
    assert {p.requires_grad for p in other.blocks[0].mlp.parameters()} == {False}


def test_what_does_not_fit_changes_nothing() -> None:
    state = nn.lora_state(adapted(gpt()))
    wider = GPT(GPTConfig(11, 8, 1, 2, 32), rng=Generator(0))
    before = wider.state_dict()
    with pytest.raises(CheckpointError) as caught:
        nn.load_lora_state(wider, state)
    told = str(caught.value)
    assert "blocks.0.attn.qkv" in told
    assert "blocks.1.attn.qkv is no linear layer" in told
    assert wider.state_dict().keys() == before.keys()
    assert all(parameter.requires_grad for parameter in wider.parameters())
    for damaged in ({}, {"kind": "lora"}, {"kind": "lora", "layers": {"blocks.0.attn.qkv": {}}}):
        with pytest.raises(CheckpointError):
            nn.load_lora_state(gpt(), damaged)


def test_what_cannot_be() -> None:
    with pytest.raises(UsageError, match=r"no linear layer's name fits nothing.*blocks\.0\.attn"):
        nn.add_lora(gpt(), targets=["nothing"], rng=Generator(0))
    with pytest.raises(UsageError, match="a rank of 17 is more than a layer 16 -> 48 has"):
        nn.add_lora(gpt(), rank=17, rng=Generator(0))
    with pytest.raises(UsageError, match="alpha"):
        nn.add_lora(gpt(), alpha=0.0, rng=Generator(0))
    model = gpt()
    nn.add_lora(model, rng=Generator(0))
    with pytest.raises(UsageError, match="adapters already"):
        nn.add_lora(model, rng=Generator(0))
