"""The GPT recipe: bit-identical resumption with dropout, and losses with a known meaning."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygen.checkpoints import load_state, save_state
from tinygen.errors import CheckpointError, InputError
from tinygen.random import Generator
from tinygen.recipes.gpt import (
    PRESETS,
    DataSettings,
    GPTRecipe,
    GPTRecipeConfig,
    ModelSettings,
    Sampling,
    restore,
)
from tinygen.training.recipe import TrainingSettings

TEXT = "To be, or not to be, that is the question: whether 'tis nobler in the mind … \n" * 30


@pytest.fixture
def config(tmp_path: Path) -> GPTRecipeConfig:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return GPTRecipeConfig(
        data=DataSettings(source=str(path), tokenizer="char"),
        model=ModelSettings(n_layer=2, n_head=2, width=16, block_size=12, dropout=0.2),
        training=TrainingSettings(steps=8, batch=3),
    )


def steps(recipe: GPTRecipe, count: int) -> list[dict[str, float]]:
    return [recipe.step(recipe.next_batch()) for _ in range(count)]


def arrays(state: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in state.items():
        if isinstance(value, dict):
            yield from arrays(value, f"{path}{name}/")
        else:
            yield path + name, value.tobytes() if isinstance(value, np.ndarray) else value


def test_a_saved_recipe_continues_bit_for_bit_from_any_step(
    config: GPTRecipeConfig, tmp_path: Path
) -> None:
    straight = GPTRecipe(config)
    expected = steps(straight, 8)
    for stop in range(1, 8):
        first = GPTRecipe(config)
        losses = steps(first, stop)
        save_state(tmp_path / str(stop), first.state_dict())
        second = GPTRecipe(config)
        second.evaluate()  # moves no stream
        second.load_state_dict(load_state(tmp_path / str(stop)))
        losses += steps(second, 8 - stop)
        assert losses == expected
        assert dict(arrays(second.state_dict())) == dict(arrays(straight.state_dict()))


def test_an_evaluation_leaves_the_training_as_it_is(config: GPTRecipeConfig) -> None:
    expected = steps(GPTRecipe(config), 4)
    recipe = GPTRecipe(config)
    disturbed = []
    for _ in range(4):
        assert recipe.evaluate() == recipe.evaluate()
        disturbed += steps(recipe, 1)
    assert disturbed == expected


def test_an_untrained_model_knows_nothing_and_training_teaches_it(config: GPTRecipeConfig) -> None:
    recipe = GPTRecipe(replace(config, training=replace(config.training, steps=60, batch=12)))
    vocab_size = len(set(TEXT))
    assert recipe.evaluate()["val_loss"] == pytest.approx(math.log(vocab_size), rel=0.05)
    steps(recipe, 60)
    assert recipe.evaluate()["val_loss"] < 0.9 * math.log(vocab_size)


def test_the_validation_loss_is_the_mean_over_every_target(config: GPTRecipeConfig) -> None:
    recipe = GPTRecipe(config)
    tokens = recipe.val_tokens.astype(np.int64)
    block, total = config.model.block_size, 0.0
    with recipe.writer.model.inference():
        for start in range(0, len(tokens) - 1, block):
            window = tokens[start : start + block + 1]
            logits = recipe.writer.model(window[None, :-1]).numpy()[0].astype(np.float64)
            log_z = np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)) + logits.max(-1)
            total += float((log_z - logits[np.arange(len(window) - 1), window[1:]]).sum())
    assert recipe.evaluate()["val_loss"] == pytest.approx(total / (len(tokens) - 1), rel=1e-5)


def test_only_matrices_decay(config: GPTRecipeConfig) -> None:
    recipe = GPTRecipe(replace(config, model=replace(config.model, bias=True)))
    matrices, vectors = recipe.learner.optimizer.groups
    assert {p.ndim for p in matrices["params"]} == {2}
    assert {p.ndim for p in vectors["params"]} == {1}
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.1, 0.0)


def test_a_restored_writer_samples_as_the_recipe_does(config: GPTRecipeConfig) -> None:
    recipe = GPTRecipe(config)
    steps(recipe, 3)
    writer = restore(config, recipe.state_dict())
    options = Sampling(prompt="To be …", tokens=20)
    text = "".join(writer.sample(Generator(3), options))
    assert text == "".join(recipe.sample(Generator(3), options))
    assert text.startswith("To be …")
    assert len(text) == len("To be …") + 20


def test_a_byte_model_yields_whole_characters_only(config: GPTRecipeConfig) -> None:
    recipe = GPTRecipe(replace(config, data=replace(config.data, tokenizer="byte")))
    for piece in recipe.sample(Generator(0), Sampling(tokens=40, top_k=0)):
        piece.encode("utf-8")
    assert recipe.writer.tokenizer.vocab_size == 256


def test_an_empty_prompt_starts_even_a_text_without_lines(
    config: GPTRecipeConfig, tmp_path: Path
) -> None:
    (tmp_path / "line.txt").write_text("one long line without an end " * 20)
    line = replace(config.data, source=str(tmp_path / "line.txt"))
    text = "".join(GPTRecipe(replace(config, data=line)).sample(Generator(0), Sampling(tokens=9)))
    assert len(text) == 9


def test_what_does_not_fit_is_refused(config: GPTRecipeConfig) -> None:
    state = GPTRecipe(config).state_dict()
    wider = GPTRecipe(replace(config, model=replace(config.model, width=32)))
    with pytest.raises(CheckpointError):
        wider.load_state_dict(state)
    with pytest.raises(InputError, match="are not what the run was trained on"):
        GPTRecipe(config).load_state_dict({**state, "corpus": "00"})
    with pytest.raises(InputError, match="too few for a window"):
        GPTRecipe(replace(config, model=replace(config.model, block_size=5000)))


def test_the_presets_are_nanogpts() -> None:
    nano, small = PRESETS["nano"], PRESETS["small"]
    assert (nano.model.n_layer, nano.model.n_head, nano.model.width) == (4, 4, 128)
    assert (nano.model.block_size, nano.training.batch, nano.training.steps) == (64, 12, 2000)
    assert (small.model.n_layer, small.model.width, small.model.block_size) == (6, 384, 256)
    assert (small.training.batch, small.training.steps, small.model.dropout) == (64, 5000, 0.2)
