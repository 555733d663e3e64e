"""Recipes, one file a family: model, data, optimiser, step, evaluation and sampling together.

A family is imported when it is asked for.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from tinygen.checkpoints import State
from tinygen.errors import UsageError
from tinygen.random import Generator
from tinygen.training.config import Settings, nearest
from tinygen.training.recipe import Recipe, RecipeConfig

FAMILIES = {"gpt": "tinygen.recipes.gpt"}


class Sampler(Protocol):
    """A trained model ready to sample, without its data or its optimiser."""

    def sample(self, rng: Generator, options: Any) -> Iterator[str]: ...


@dataclass(frozen=True)
class Family:
    """What the command line needs to know of a family."""

    name: str
    presets: Mapping[str, RecipeConfig]
    build: Callable[[Any], Recipe]
    """From a configuration to a recipe at step 0. Reads the data."""
    restore: Callable[[Any, State], Sampler]
    """From a configuration and a checkpoint's state to a sampler."""
    sampling: Settings
    """The options of `sample`, at their defaults."""


def family(name: str) -> Family:
    """The family of that name. Raises UsageError."""
    if name not in FAMILIES:
        raise UsageError(f"there is no family {name!r} of models; {nearest(name, FAMILIES)}")
    found: Family = import_module(FAMILIES[name]).FAMILY
    return found
