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
from tinygen.training.divergence import first_bad_op
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


def test_where_all_is_finite_the_sentence_says_so(config: GPTRecipeConfig, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", "gpt", config, command="", environment={})
    assert "every value was finite" in first_bad_op(GPTRecipe(config), run, 5)
