"""Every recipe on a device that is not the CPU: it learns, evaluates and draws as there, and goes
on from the checkpoints of either. Numbers agree to float32's rounding, the streams of random
numbers exactly."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_recipes import TINY, config_of

from tinygen.checkpoints import load_state, save_state
from tinygen.errors import UnavailableError
from tinygen.nn import Module
from tinygen.random import Generator
from tinygen.recipes import family
from tinygen.tensor import device_of

DEVICE = os.environ.get("TINYGEN_TEST_DEVICE", "sim")

TEXT = [
    ("data.eval_tokens", "60"),
    ("model.n_layer", "1"),
    ("model.width", "16"),
    ("model.block_size", "8"),
    ("model.dropout", "0.2"),
    ("training.batch", "2"),
    ("training.steps", "6"),
]
OFTEN = ("gpt", "vae, importance weighted")
"""The others take longer, most of which is the compilation of kernels for their shapes."""

KINDS = [
    pytest.param(kind, marks=() if kind in OFTEN else pytest.mark.deep)
    for kind in ("gpt", "masked", *TINY)
]

LOSSES = ("loss", "g_loss", "val_loss", "lr")
"""Not the scores of a GAN: of pairs only their difference is learned, and what both have in common
is moved by rounding, of which Adam makes whole steps."""


def recipe_of(kind: str, device: str) -> tuple[Any, Any, Any]:
    if kind in TINY:
        chosen, config = config_of(kind)
    else:
        chosen = family(kind)
        config = chosen.presets["nano"].overridden(TEXT)
    return chosen, config.on(device), chosen.build(config.on(device))


def step(recipe: Any) -> dict[str, float]:
    metrics: dict[str, float] = recipe.step(recipe.next_batch())
    return metrics


def agree(found: dict[str, float], expected: dict[str, float]) -> None:
    assert found.keys() == expected.keys()
    for name in expected.keys() & set(LOSSES):
        np.testing.assert_allclose(found[name], expected[name], rtol=2e-5, err_msg=name)


def drawn(chosen: Any, config: Any, state: Any) -> Any:
    made = chosen.restore(config, state)
    if chosen.output == "text":
        options = chosen.sampling.overridden([("tokens", "12")])  # beyond the window
        return "".join(made.sample(Generator(1), options))
    short = [("steps", "3")] if chosen.name == "diffusion" else []
    (*_, last) = made.paint(3, Generator(1), chosen.sampling.overridden(short))
    assert type(last) is np.ndarray
    return last


@pytest.mark.parametrize("kind", KINDS)
def test_a_recipe_is_that_of_the_cpu_and_its_checkpoints_go_either_way(
    kind: str, tmp_path: Path
) -> None:
    chosen, config, here = recipe_of(kind, "cpu")
    _, there_config, there = recipe_of(kind, DEVICE)
    for _ in range(2):
        agree(step(there), step(here))
    agree(there.evaluate(), here.evaluate())

    save_state(tmp_path / "there", there.state_dict())
    save_state(tmp_path / "here", here.state_dict())
    from_there, from_here = load_state(tmp_path / "there"), load_state(tmp_path / "here")
    draws = drawn(chosen, there_config, from_here), drawn(chosen, config, from_here)
    if chosen.output == "text":
        assert draws[0] == draws[1]
    else:
        np.testing.assert_allclose(*draws, rtol=0, atol=1e-5)

    expected = step(here)
    (_, _, back), (_, _, onward) = recipe_of(kind, "cpu"), recipe_of(kind, DEVICE)
    back.load_state_dict(from_there)
    onward.load_state_dict(from_here)
    for recipe in (back, onward, there):
        agree(step(recipe), expected)


def test_a_recipe_computes_where_it_is_told_to() -> None:
    for kind in ("gpt", "gan of images", "flow of images", "vq-vae"):
        _, _, recipe = recipe_of(kind, DEVICE)
        batch = recipe.next_batch()
        first = batch[0][0] if isinstance(batch, list) else batch[0]
        assert device_of(first) == DEVICE
        made = recipe.writer if kind == "gpt" else recipe.painter
        modules = [part for part in vars(made).values() if isinstance(part, Module)]
        assert modules
        for module in modules:
            assert {tensor.device for tensor in module.parameters()} == {DEVICE}


@pytest.mark.parametrize("kind", ["gpt", "masked", *TINY])
def test_a_device_that_is_not_there_is_refused_before_any_data_are_read(kind: str) -> None:
    if kind in TINY:
        chosen, config = config_of(kind)
    else:
        chosen = family(kind)
        config = chosen.presets["nano"]
    nowhere = config.overridden([("data.source", "nowhere")])
    with pytest.raises(UnavailableError, match="cuda:99"):
        chosen.build(nowhere.on("cuda:99"))
