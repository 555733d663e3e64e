"""What the training loop asks of a recipe: models, optimisers and data under one roof."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from tinygen.checkpoints import State
from tinygen.training.config import Settings, setting

Metrics = dict[str, float]


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """How long a run is, and how often the loop logs, evaluates and saves."""

    steps: int = setting(1000, "optimiser steps in all", least=1)
    batch: int = setting(16, "examples in a step", least=1, most=2**24)
    eval_every: int = setting(250, "steps between evaluations on the held-out part", least=1)
    save_every: int = setting(250, "steps between checkpoints", least=1)
    log_every: int = setting(10, "steps between lines of metrics.jsonl", least=1)
    seed: int = setting(0, "of every random stream", least=0, most=2**64 - 1)
    device: str = setting("cpu", "what computes: cpu, cuda:0, or sim, the simulated GPU")
    threads: int = setting(1, "threads of a matrix product", least=1, most=1024)


@dataclass(frozen=True)
class RecipeConfig(Settings):
    """The whole configuration of a run; a family adds its sections."""

    training: TrainingSettings = TrainingSettings()

    def on(self, device: str | None) -> Self:
        """The same on another device; as it is, where that is None."""
        if device is None:
            return self
        return replace(self, training=replace(self.training, device=device))


class Recipe(Protocol):
    """One family in training. Equal configuration and state give equal steps, bit for bit."""

    criterion: str
    """The metric by which the best checkpoint is chosen, lower being better: "val_loss", or what
    `evaluate` gives where a family has no likelihood."""
    steps_done: int
    """Optimiser steps so far; `step` adds one, `load_state_dict` restores it."""

    def next_batch(self) -> Any:
        """The next batch of the training part; moves the data cursor."""

    def step(self, batch: Any) -> Metrics:
        """One optimiser step: `loss`, `lr`, and whatever else is worth a log."""

    def evaluate(self) -> Metrics:
        """The `criterion`, mostly on the held-out part, and whatever else is worth a log.

        Leaves parameters and random streams as they are.
        """

    def findings(self) -> Sequence[str]:
        """What goes wrong, in sentences "name: what is seen"; asked after an evaluation. Each name
        is told to the user once, and all of them are logged."""

    def baseline(self) -> tuple[str, float]:
        """The name of a trivial model, and its `criterion` on the same held-out part."""

    def state_dict(self) -> State:
        """Everything that the steps to come depend on, as nested arrays and JSON values."""

    def load_state_dict(self, state: State) -> None:
        """Continue from `state`. Raises CheckpointError where it belongs to another model."""

    def describe(self) -> Mapping[str, Any]:
        """What the run's record says of data and model: hashes, sizes, parameter count."""
