"""The recipes of images and points: bit-identical resumption, evaluations that change nothing, and
painters that need no data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_recipes import TINY, config_of

from tinygen.checkpoints import load_state, save_state
from tinygen.data.images import write_npz
from tinygen.data.images.imageset import ImageSet
from tinygen.errors import InputError, UsageError
from tinygen.random import Generator
from tinygen.recipes import family


def steps(recipe: Any, count: int) -> list[dict[str, float]]:
    return [recipe.step(recipe.next_batch()) for _ in range(count)]


def arrays(state: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in state.items():
        if isinstance(value, dict):
            yield from arrays(value, f"{path}{name}/")
        else:
            yield path + name, value.tobytes() if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("kind", TINY)
def test_a_saved_recipe_continues_bit_for_bit(kind: str, tmp_path: Path) -> None:
    chosen, config = config_of(kind)
    straight = chosen.build(config)
    expected = steps(straight, 6)
    for stop in (1, 4):
        first = chosen.build(config)
        losses = steps(first, stop)
        save_state(tmp_path / str(stop), first.state_dict())
        second = chosen.build(config)
        second.evaluate()  # moves no stream
        second.load_state_dict(load_state(tmp_path / str(stop)))
        losses += steps(second, 6 - stop)
        assert losses == expected
        assert dict(arrays(second.state_dict())) == dict(arrays(straight.state_dict()))


@pytest.mark.parametrize("kind", TINY)
def test_an_evaluation_says_the_same_twice_and_changes_nothing(kind: str) -> None:
    chosen, config = config_of(kind)
    expected = steps(chosen.build(config), 3)
    recipe = chosen.build(config)
    disturbed = []
    for _ in range(3):
        metrics = recipe.evaluate()
        assert metrics == recipe.evaluate()
        assert recipe.criterion in metrics
        disturbed += steps(recipe, 1)
    assert disturbed == expected
    name, baseline = recipe.baseline()
    assert name
    assert np.isfinite(baseline)


@pytest.mark.parametrize("kind", TINY)
def test_a_painter_needs_no_data_and_paints_finite_samples(kind: str) -> None:
    chosen, config = config_of(kind)
    recipe = chosen.build(config)
    steps(recipe, 2)
    painter = chosen.restore(config, recipe.state_dict())
    options = chosen.sampling.overridden([("steps", "3")] if "diffusion" in TINY[kind] else [])
    (*_, five) = painter.paint(5, Generator(1), options)
    (*_, again) = painter.paint(5, Generator(1), options)
    (*_, other) = painter.paint(5, Generator(2), options)
    assert np.isfinite(five).all()
    np.testing.assert_array_equal(five, again)
    assert (five != other).any()
    assert five.shape[1:] in ((8, 8, 1), (2,))


@pytest.mark.parametrize(
    "kind",
    ["vae of binary pixels", "vq-vae of classes on a grid", "flow of images", "gan of images"],
)
def test_a_class_can_be_asked_for(kind: str) -> None:
    chosen, config = config_of(kind)
    painter = chosen.restore(config, chosen.build(config).state_dict())
    (*_, told) = painter.paint(3, Generator(0), chosen.sampling.overridden([("label", "7")]))
    assert told.shape == (3, 8, 8, 1)
    with pytest.raises(UsageError, match="none of the 10 classes"):
        list(painter.paint(3, Generator(0), chosen.sampling.overridden([("label", "10")])))


def test_a_class_cannot_be_asked_of_a_model_without_classes() -> None:
    chosen, config = config_of("vae")
    painter = chosen.restore(config, chosen.build(config).state_dict())
    with pytest.raises(UsageError, match="without classes"):
        list(painter.paint(3, Generator(0), chosen.sampling.overridden([("label", "1")])))


def test_other_data_are_refused(tmp_path: Path) -> None:
    images = (Generator(0).uniform((30, 8, 8, 1)) * 255).astype(np.uint8)
    for name, shown in (("a", images), ("b", images[::-1])):
        write_npz(tmp_path / f"{name}.npz", ImageSet(name, shown, None, (), "made here"))
    for kind in ("vae", "vq-vae", "gan of images", "flow of images"):
        chosen, config = config_of(kind)
        settings = [("model.conditional", "false"), ("data.source", str(tmp_path / "a.npz"))]
        config = config.overridden(settings)
        state = chosen.build(config).state_dict()
        other = config.overridden([("data.source", str(tmp_path / "b.npz"))])
        with pytest.raises(InputError, match="not what the run was trained on"):
            chosen.build(other).load_state_dict(state)


def test_what_cannot_be_is_refused_before_anything_is_trained() -> None:
    chosen, config = config_of("flow of points")
    with pytest.raises(UsageError, match="square images"):
        chosen.build(config.overridden([("model.network", "unet")]))
    chosen, config = config_of("flow of images")
    painter = chosen.restore(config, chosen.build(config).state_dict())
    with pytest.raises(UsageError, match="ddim"):
        list(painter.paint(1, Generator(0), chosen.sampling.overridden([("sampler", "ddim")])))
    with pytest.raises(UsageError, match="unknown device"):
        chosen.build(config.overridden([("training.device", "abacus")]))
    with pytest.raises(InputError, match="no data"):
        chosen.build(config.overridden([("data.source", "nowhere")]))


@pytest.mark.parametrize("sampler", ["euler", "ancestral", "dpmpp_2m", "heun"])
@pytest.mark.parametrize("kind", ["flow of images", "edm", "ddpm by a unet"])
def test_every_sampler_serves_every_method(kind: str, sampler: str) -> None:
    chosen, config = config_of(kind)
    painter = chosen.restore(config, chosen.build(config).state_dict())
    options = chosen.sampling.overridden(
        [("sampler", sampler), ("steps", "4"), ("guidance", "2"), ("interval", "0.1,10")]
    )
    frames = list(painter.paint(2, Generator(0), options))
    assert len(frames) == 4
    assert np.isfinite(frames[-1]).all()


def test_an_untrained_vae_costs_about_what_independent_levels_do_and_training_beats_it() -> None:
    chosen = family("vae")
    config = chosen.presets["digits"].overridden(
        [("training.steps", "300"), ("training.batch", "64"), ("model.hidden", "256")]
    )
    recipe = chosen.build(config)
    name, baseline = recipe.baseline()
    assert name == "independent pixels"
    steps(recipe, 300)
    assert recipe.evaluate()["val_loss"] < baseline


def test_a_vq_vae_learns_its_codes_then_their_prior() -> None:
    chosen, config = config_of("vq-vae")
    recipe = chosen.build(
        config.overridden([("training.steps", "120"), ("prior.part", "0.5"), ("model.codes", "16")])
    )
    before = recipe.prior.state_dict()
    uniform = 16 * np.log(16)  # 4 x 4 codes
    losses = steps(recipe, 60)
    assert losses[-1]["loss"] < losses[0]["loss"]
    learned = recipe.evaluate()
    assert learned["code_nats"] == pytest.approx(uniform)
    assert 1 <= learned["perplexity"] <= 16 * learned["codes_in_use"]
    assert all((before[name] == x).all() for name, x in recipe.prior.state_dict().items())
    codes = recipe.model.state_dict()
    steps(recipe, 60)
    known = recipe.evaluate()
    assert known["code_nats"] < uniform - 1
    assert known["reconstruction_nats"] == learned["reconstruction_nats"]
    assert all((codes[name] == x).all() for name, x in recipe.model.state_dict().items())
    assert known["val_loss"] == known["reconstruction_nats"] + known["code_nats"]


def test_more_steps_of_a_vq_vae_go_to_its_prior() -> None:
    chosen, config = config_of("vq-vae")
    recipe = chosen.build(config)
    steps(recipe, 6)
    longer = chosen.build(config.overridden([("training.steps", "10")]))
    longer.load_state_dict(recipe.state_dict())
    assert longer.prior_begins == recipe.prior_begins == 3
    codes = longer.model.state_dict()
    steps(longer, 4)
    assert all((codes[name] == x).all() for name, x in longer.model.state_dict().items())


def test_the_slope_of_a_walk_leaves_every_digit_and_comes_back() -> None:
    chosen, config = config_of("vae")
    painter = chosen.restore(config, chosen.build(config).state_dict())
    frames = list(painter.paint(2, Generator(3), chosen.sampling.overridden([("what", "walk")])))
    assert len(frames) == 17
    np.testing.assert_allclose(frames[0], frames[-1], atol=1e-5)


def test_a_gan_that_collapses_says_so_and_one_that_learns_does_not() -> None:
    learning = family("gan").build(family("gan").presets["ring"])
    for _ in range(1200):
        learning.step(learning.next_batch())
    learning.evaluate()
    assert learning.findings() == []
    for parameter in learning.painter.generator.parameters()[-2:]:
        parameter.data[...] = 0.01  # every sample in one place
    learning.ema = type(learning.ema)(learning.painter.generator, 0.99)
    learning.evaluate()
    assert any(finding.startswith("mode collapse: ") for finding in learning.findings())
