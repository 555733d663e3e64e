"""A family that trains in microseconds: the loop, the run folder and the command line at work.

Run as a script it is the command `tinygen` with one family, "toy".
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygen.checkpoints import State
from tinygen.errors import CheckpointError
from tinygen.random import Generator
from tinygen.recipes import FAMILIES, Family
from tinygen.training.config import Settings, setting
from tinygen.training.recipe import Metrics, RecipeConfig, TrainingSettings


@dataclass(frozen=True)
class ToyModel(Settings):
    width: int = setting(8, "length of the vector that is learned", least=1)
    noise: float = setting(0.1, "of a batch", least=0.0)
    pause: float = setting(0.0, "seconds that a step takes at least", least=0.0)


@dataclass(frozen=True)
class ToyOptimizer(Settings):
    lr: float = setting(0.1, "learning rate", above=0.0)


@dataclass(frozen=True)
class ToyConfig(RecipeConfig):
    model: ToyModel = field(default=ToyModel())
    optimizer: ToyOptimizer = field(default=ToyOptimizer())
    training: TrainingSettings = field(
        default=TrainingSettings(steps=30, batch=4, eval_every=10, save_every=5, log_every=1)
    )


class ToyRecipe:
    """Learns the vector 1, 1, ... from noisy looks at it, by gradient descent with momentum."""

    criterion = "val_loss"

    def __init__(self, config: ToyConfig) -> None:
        rng = Generator(config.training.seed)
        self.config = config
        self.weight = rng.normal((config.model.width,))
        self.momentum = np.zeros_like(self.weight)
        self.data = rng.spawn("data")
        self.steps_done = 0

    def next_batch(self) -> Any:
        shape = (self.config.training.batch, self.config.model.width)
        return 1 + self.config.model.noise * self.data.normal(shape)

    def step(self, batch: Any) -> Metrics:
        if self.config.model.pause:
            time.sleep(self.config.model.pause)
        gradient = (self.weight - batch).mean(axis=0)
        loss = float(((self.weight - batch) ** 2).mean())
        self.momentum = np.float32(0.9) * self.momentum + gradient
        self.weight = self.weight - np.float32(self.config.optimizer.lr) * self.momentum
        self.steps_done += 1
        return {"loss": loss, "lr": self.config.optimizer.lr}

    def evaluate(self) -> Metrics:
        return {"val_loss": float(((self.weight - 1) ** 2).mean())}

    def findings(self) -> tuple[str, ...]:
        return ()

    def baseline(self) -> tuple[str, float]:
        return "zero", 1.0

    def sample(self, rng: Generator, options: Any) -> Iterator[str]:
        for value in self.weight[: options.tokens]:
            yield f"{options.prompt}{value + options.spread * rng.normal():.3f} "

    def state_dict(self) -> State:
        return {
            "model": {"weight": self.weight},
            "optimizer": {"momentum": self.momentum},
            "data": self.data.state_dict(),
            "steps_done": self.steps_done,
        }

    def load_state_dict(self, state: State) -> None:
        if state["model"]["weight"].shape != self.weight.shape:
            raise CheckpointError("the weight has another shape")
        self.weight = state["model"]["weight"].copy()
        self.momentum = state["optimizer"]["momentum"].copy()
        self.data.load_state_dict(state["data"])
        self.steps_done = state["steps_done"]

    def describe(self) -> dict[str, Any]:
        return {"parameters": self.weight.size}


@dataclass(frozen=True)
class ToySampling(Settings):
    prompt: str = setting("", "before each number")
    tokens: int = setting(4, "how many numbers", least=1)
    spread: float = setting(0.0, "noise", least=0.0)


def restore(config: ToyConfig, state: State) -> ToyRecipe:
    recipe = ToyRecipe(config)
    recipe.load_state_dict(state)
    return recipe


FAMILY = Family("toy", {"plain": ToyConfig()}, ToyRecipe, restore, ToySampling())


def die_at_file_operation(number: int) -> None:
    """Kill this process, as `kill -9` does, just before its n-th operation on a file of `runs`."""
    left = number

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir") and any(
            "runs" in str(argument) for argument in arguments
        ):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    from tinygen.cli.main import main

    FAMILIES.clear()  # options of `train` come from all families; these tests read best with one
    FAMILIES["toy"] = "toy"
    if "TOY_DIES_AT" in os.environ:
        die_at_file_operation(int(os.environ["TOY_DIES_AT"]))
    sys.exit(main())
