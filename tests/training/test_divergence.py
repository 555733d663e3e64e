"""The op that first gave a value that is not finite is found by computing the steps again."""

from pathlib import Path

import numpy as np
import pytest

from tinygen.errors import DivergedError
from tinygen.recipes.gpt import (
    DataSettings,
    GPTRecipe,
    GPTRecipeConfig,
    ModelSettings,
    OptimizerSettings,
)
from tinygen.training.divergence import first_bad_op, not_finite
from tinygen.training.loop import train
from tinygen.training.progress import progress_for
from tinygen.training.recipe import Metrics, TrainingSettings
from tinygen.training.run import Run


@pytest.fixture
def config(tmp_path: Path) -> GPTRecipeConfig:
    (tmp_path / "text.txt").write_text("a text to learn from, again and again. " * 30)
    return GPTRecipeConfig(
        data=DataSettings(source=str(tmp_path / "text.txt"), tokenizer="char"),
        model=ModelSettings(n_layer=1, n_head=2, width=8, block_size=8),
        optimizer=OptimizerSettings(warmup=0),
        training=TrainingSettings(steps=12, batch=2, save_every=2, eval_every=100),
    )


class Poisoned(GPTRecipe):
    """Its weights overflow after step 7."""

    def step(self, batch: object) -> Metrics:
        if self.steps_done == 7:
            self.writer.model.norm.weight.data[...] = np.float32(3e38)
        return super().step(batch)  # type: ignore[arg-type]  # a batch of its own


def test_the_sentence_names_the_op_the_module_and_the_line(
    config: GPTRecipeConfig, tmp_path: Path
) -> None:
    run = Run.create(tmp_path / "run", "gpt", config, command="", environment={})
    recipe = Poisoned(config)
    with pytest.raises(DivergedError, match=r"at step 8, .*step-000006"):
        train(recipe, config.training, run, progress=progress_for(12))
    sentence = first_bad_op(Poisoned(config), run, recipe.steps_done)
    assert "is the first op that produced a value that is not finite" in sentence
    assert "gpt.py:" in sentence


class Overflowing(GPTRecipe):
    """The update of step 6 makes a weight infinite; no op of that step does."""

    def step(self, batch: object) -> Metrics:
        metrics = super().step(batch)  # type: ignore[arg-type]  # a batch of its own
        if self.steps_done == 6:
            self.writer.model.norm.weight.data[0] = np.inf
        return metrics


def test_a_checkpoint_is_never_full_of_infinities(config: GPTRecipeConfig, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", "gpt", config, command="", environment={})
    recipe = Overflowing(config)
    with pytest.raises(
        DivergedError, match=r"model/norm\.weight is no longer finite after step 6.*step-000004"
    ):
        train(recipe, config.training, run, progress=progress_for(12))
    assert run.steps() == [2, 4]
    sentence = first_bad_op(Overflowing(config), run, recipe.steps_done)
    assert "the optimiser's update that ends it made model/norm.weight infinite" in sentence


class Unevaluable(GPTRecipe):
    """Its steps are finite, its evaluation is not."""

    def evaluate(self) -> Metrics:
        kept = self.writer.model.norm.weight.data.copy()
        self.writer.model.norm.weight.data[...] = np.float32(3e38)
        metrics = super().evaluate()
        self.writer.model.norm.weight.data[...] = kept
        return metrics


def test_an_evaluation_that_diverges_has_its_op_named_too(
    config: GPTRecipeConfig, tmp_path: Path
) -> None:
    run = Run.create(tmp_path / "run", "gpt", config, command="", environment={})
    recipe = Unevaluable(config)
    with pytest.raises(DivergedError, match=r"val_loss became .* at step 12"):
        train(recipe, config.training, run, progress=progress_for(12))
    sentence = first_bad_op(Unevaluable(config), run, recipe.steps_done)
    assert "is the first op that produced a value that is not finite" in sentence


@pytest.mark.parametrize(
    ("state", "path"),
    [
        ({}, None),
        ({"a": {"b": np.arange(3), "c": np.zeros(2), "d": [1], "e": "nan", "f": None}}, None),
        ({"a": {"b": np.zeros(2), "c": np.array([0.0, np.nan])}, "d": np.inf}, "a/c"),
        ({"a": {"b": {"c": np.float32([-np.inf])}}}, "a/b/c"),
        ({"a": 1.0, "b": float("inf")}, "b"),
        ({"a": np.array(complex(0, np.nan))}, "a"),
    ],
)
def test_the_first_value_that_is_not_finite_is_named(state: dict[str, object], path: str) -> None:
    assert not_finite(state) == path


def test_where_all_is_finite_the_sentence_says_so(config: GPTRecipeConfig, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", "gpt", config, command="", environment={})
    assert "every value was finite" in first_bad_op(GPTRecipe(config), run, 5)
