"""The recipe of masked diffusion: bit-identical resumption, a bound with a known meaning, and texts
that keep what is given."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygen.checkpoints import load_state, save_state
from tinygen.cli.main import main
from tinygen.errors import InputError, UsageError
from tinygen.random import Generator
from tinygen.recipes import family
from tinygen.recipes.masked import GAP, MaskedRecipe, Sampling

TEXT = "To be, or not to be, that is the question: whether 'tis nobler in the mind … \n" * 30


@pytest.fixture
def config(tmp_path: Path) -> Any:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    sizes = {"n-layer": 2, "n-head": 2, "width": 16, "block-size": 12, "dropout": 0.2}
    settings = [(f"model.{name.replace('-', '_')}", str(size)) for name, size in sizes.items()]
    settings += [("data.source", str(path)), ("data.tokenizer", "char")]
    settings += [("training.steps", "8"), ("training.batch", "3")]
    return family("masked").presets["nano"].overridden(settings)


def steps(recipe: MaskedRecipe, count: int) -> list[dict[str, float]]:
    return [recipe.step(recipe.next_batch()) for _ in range(count)]


def arrays(state: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in state.items():
        if isinstance(value, dict):
            yield from arrays(value, f"{path}{name}/")
        else:
            yield path + name, value.tobytes() if isinstance(value, np.ndarray) else value


def test_a_saved_recipe_continues_bit_for_bit(config: Any, tmp_path: Path) -> None:
    straight = MaskedRecipe(config)
    expected = steps(straight, 8)
    for stop in (1, 5):
        first = MaskedRecipe(config)
        losses = steps(first, stop)
        save_state(tmp_path / str(stop), first.state_dict())
        second = MaskedRecipe(config)
        assert second.evaluate() == second.evaluate()  # moves no stream
        second.load_state_dict(load_state(tmp_path / str(stop)))
        losses += steps(second, 8 - stop)
        assert losses == expected
        assert dict(arrays(second.state_dict())) == dict(arrays(straight.state_dict()))


def test_an_untrained_model_knows_nothing_and_training_teaches_it(config: Any) -> None:
    settings = [("training.steps", "150"), ("training.batch", "12"), ("model.dropout", "0")]
    recipe = MaskedRecipe(config.overridden(settings))
    uniform = math.log(len(set(TEXT)))
    assert recipe.evaluate()["val_loss"] == pytest.approx(uniform, rel=0.2)  # masks are drawn
    steps(recipe, 150)
    assert recipe.evaluate()["val_loss"] < 0.9 * uniform
    name, bigram = recipe.baseline()
    assert name == "bigram"
    assert bigram < uniform


def test_a_restored_writer_samples_as_the_recipe_does(config: Any) -> None:
    recipe = MaskedRecipe(config)
    steps(recipe, 3)
    writer = family("masked").restore(config, recipe.state_dict())
    options = Sampling(prompt="To be …", tokens=31, steps=4)
    text = "".join(writer.sample(Generator(3), options))
    assert text == "".join(recipe.writer.sample(Generator(3), options))
    assert text.startswith("To be …")
    assert len(text) == len("To be …") + 31
    other = "".join(writer.sample(Generator(4), options))
    assert other != text
    assert len("".join(writer.sample(Generator(0), Sampling(tokens=9)))) == 9


def test_gaps_are_filled_and_the_rest_is_kept(config: Any) -> None:
    writer = MaskedRecipe(config).writer
    text = "".join(writer.sample(Generator(0), Sampling(infill="To _e__r n_")))
    assert len(text) == 11
    assert all(k in (GAP, c) for k, c in zip("To _e__r n_", text, strict=True))
    assert GAP not in text
    with pytest.raises(UsageError, match="has 13 tokens, and the model sees 12"):
        list(writer.sample(Generator(0), Sampling(infill="_" * 13)))


def test_the_commands_train_judge_and_fill(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    run = str(tmp_path / "run")
    sizes = ["--model.width", "8", "--model.block-size", "16", "--steps", "3", "--batch", "2"]
    data = ["--data", str(tmp_path / "text.txt"), "--data.tokenizer", "char"]
    assert main(["train", "masked", *data, *sizes, "--out", run]) == 0
    assert main(["eval", run, "--json"]) == 0
    assert {"val_loss", "bigram"} <= json.loads(capsys.readouterr().out.splitlines()[-1]).keys()
    assert main(["sample", run, "--infill", "to be, ___", "--steps", "2", "--seed", "1"]) == 0
    filled = capsys.readouterr().out
    assert filled.startswith("to be, ")
    assert main(["sample", run, "--infill", "to be, ___", "--steps", "2", "--seed", "1"]) == 0
    assert capsys.readouterr().out == filled
    assert main(["sample", run, "--temperature", "0"]) == 2


def test_what_does_not_fit_is_refused(config: Any) -> None:
    state = MaskedRecipe(config).state_dict()
    with pytest.raises(InputError, match="are not what the run was trained on"):
        MaskedRecipe(config).load_state_dict({**state, "corpus": "00"})
    with pytest.raises(InputError, match="too few for a window"):
        family("masked").build(config.overridden([("model.block_size", "5000")]))
