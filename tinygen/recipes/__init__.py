"""Recipes, one file a family: model, data, optimiser, step, evaluation and sampling together.

A family is imported when it is asked for.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from tinygen.checkpoints import State
from tinygen.errors import UsageError
from tinygen.random import Generator
from tinygen.training.config import Settings, nearest
from tinygen.training.recipe import Recipe, RecipeConfig

Array = NDArray[Any]

FAMILIES = {
    "gpt": "tinygen.recipes.gpt",
    "llama": "tinygen.recipes.llama",
    "tune": "tinygen.recipes.tune",
    "vae": "tinygen.recipes.vae",
    "vqvae": "tinygen.recipes.vqvae",
    "gan": "tinygen.recipes.gan",
    "diffusion": "tinygen.recipes.diffusion",
    "masked": "tinygen.recipes.masked",
}


class Writer(Protocol):
    """A trained model of text, ready to sample, without its data or its optimiser."""

    def sample(self, rng: Generator, options: Any) -> Iterator[str]:
        """Pieces of one text, as they come."""


class Painter(Protocol):
    """A trained model of images or points, likewise."""

    def paint(self, n: int, rng: Generator, options: Any) -> Iterator[Array]:
        """n samples in the making: images (n, H, W, C) in [0, 1], or points (n, 2); the last is the
        result, those before it are the sampler's steps."""


@dataclass(frozen=True)
class Family:
    """What the command line needs to know of a family."""

    name: str
    presets: Mapping[str, RecipeConfig]
    build: Callable[[Any], Recipe]
    """From a configuration to a recipe at step 0, on its device. Reads the data."""
    restore: Callable[[Any, State], Any]
    """From a configuration and a checkpoint's state to a `Writer` or a `Painter` on its device."""
    sampling: Settings
    """The options of `sample`, at their defaults."""
    output: Literal["text", "arrays"] = "text"
    """What its models make: text by a `Writer`, or arrays by a `Painter`."""
    assessed: Settings | None = None
    """The options with which `eval` draws what it judges, where `sample` draws for the eye."""
    cost: Callable[[Any], Any] | None = None
    """From a configuration to what a run of it takes, as a dataclass of numbers that reads as a
    sentence."""
    dial: Callable[[Any, Any, int], Mapping[str, Any]] | None = None
    """From a configuration, the preset that it came of, and a depth to the settings that follow."""

    @property
    def judged(self) -> Settings:
        """The options of `eval` at their defaults."""
        return self.sampling if self.assessed is None else self.assessed


def family(name: str) -> Family:
    """The family of that name. Raises UsageError."""
    if name not in FAMILIES:
        raise UsageError(f"there is no family {name!r} of models; {nearest(name, FAMILIES)}")
    found: Family = import_module(FAMILIES[name]).FAMILY
    return found
