"""The Llama recipe, and the dial of both language recipes."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tinygen.checkpoints import load_state, save_state
from tinygen.errors import UsageError
from tinygen.models.transformer import estimate
from tinygen.random import Generator
from tinygen.recipes import gpt, llama
from tinygen.recipes.text import DataSettings
from tinygen.recipes.writing import Sampling
from tinygen.training.recipe import TrainingSettings

TEXT = "To be, or not to be, that is the question: whether 'tis nobler in the mind … \n" * 30


@pytest.fixture
def config(tmp_path: Path) -> llama.LlamaRecipeConfig:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return llama.LlamaRecipeConfig(
        data=DataSettings(source=str(path), tokenizer="char"),
        model=llama.ModelSettings(
            n_layer=2, n_head=4, n_kv_head=2, width=16, block_size=12, dropout=0.2, window=5
        ),
        training=TrainingSettings(steps=8, batch=3),
    )


def test_a_saved_recipe_continues_bit_for_bit(
    config: llama.LlamaRecipeConfig, tmp_path: Path
) -> None:
    straight = llama.LlamaRecipe(config)
    expected = [straight.step(straight.next_batch()) for _ in range(6)]
    first = llama.LlamaRecipe(config)
    losses = [first.step(first.next_batch()) for _ in range(3)]
    save_state(tmp_path / "state", first.state_dict())
    second = llama.LlamaRecipe(config)
    second.load_state_dict(load_state(tmp_path / "state"))
    assert losses + [second.step(second.next_batch()) for _ in range(3)] == expected
    options = Sampling(prompt="To be …", tokens=20)
    writer = llama.restore(config, second.state_dict())
    text = "".join(writer.sample(Generator(3), options))
    assert text == "".join(straight.sample(Generator(3), options))


def test_the_settings_are_those_of_the_model(config: llama.LlamaRecipeConfig) -> None:
    recipe = llama.LlamaRecipe(replace(config, model=replace(config.model, hidden=20, tied=True)))
    found = recipe.writer.model.config
    assert (found.n_groups, found.mlp_width, found.windows) == (2, 20, (5, 5))
    assert (found.tied, found.qk_norm, found.rope_base) == (True, False, 10000.0)
    assert recipe.describe()["parameters"] == estimate(found).parameters
    assert recipe.describe()["cost"] == str(estimate(found, 3))


def test_training_teaches_it(config: llama.LlamaRecipeConfig) -> None:
    recipe = llama.LlamaRecipe(replace(config, training=TrainingSettings(steps=60, batch=12)))
    before = recipe.evaluate()["val_loss"]
    for _ in range(60):
        recipe.step(recipe.next_batch())
    assert before == pytest.approx(np.log(len(set(TEXT))), rel=0.05)
    assert recipe.evaluate()["val_loss"] < 0.9 * before


def test_sizes_that_cannot_be_are_named() -> None:
    with pytest.raises(UsageError, match="n_kv_head must divide n_head 4, not 3"):
        llama.ModelSettings(n_kv_head=3)
    with pytest.raises(UsageError, match=r"n_head must leave .* an even number"):
        llama.ModelSettings(n_head=4, width=12)


@pytest.mark.parametrize("family", [gpt, llama])
def test_the_dial_gives_sizes_learning_rate_and_steps(family: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    preset = family.PRESETS["nano"]
    config = replace(
        preset,
        data=DataSettings(source=str(path), tokenizer="byte"),
        training=replace(preset.training, batch=48),
    )
    assert family.FAMILY.dial is not None
    found = family.FAMILY.dial(config, preset, 8)
    assert found["model"] == {"n_layer": 8, "n_head": 8, "width": 512}
    # Four times as wide and four times the tokens a step: the two scalings cancel.
    assert found["optimizer"] == {"lr": preset.optimizer.lr}
    derived = config.updated(found, where="dial")
    assert family.FAMILY.cost is not None
    tokens = 20 * family.FAMILY.cost(derived).products
    assert found["training"]["steps"] == -(-tokens // (48 * 64))
