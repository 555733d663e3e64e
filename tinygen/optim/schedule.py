"""Learning-rate schedules: pure functions from the step to a factor of the learning rate.

    schedule = Cosine(steps=1000, warmup=100)
    optimizer.step(lr_factor=schedule(i))           # i = 0, 1, ..., 999

Step 0 is the first. During the first `warmup` steps the factor is 1/warmup, 2/warmup, ..., 1;
then the shape of the schedule runs from 1 at step `warmup` to `min_factor` at step `steps`, the
first that is not taken, and stays there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tinygen.arguments import integer, number
from tinygen.errors import UsageError


class Schedule:
    """Base: checks the settings and warms up; a subclass defines `after_warmup`."""

    warmup: int

    def __post_init__(self) -> None:
        name, given = type(self).__name__, vars(self)
        for setting in given.keys() & {"steps", "decay", "warmup"}:
            integer(f"{name}: {setting}", given[setting], least=1 if setting == "steps" else 0)
        number(f"{name}: min_factor", given.get("min_factor", 0.0), least=0, most=1)
        if given["warmup"] + given.get("decay", 0) > given.get("steps", math.inf):
            raise UsageError(
                f"{self} cannot be: warmup (and decay, together) lie within the steps."
            )

    def __call__(self, step: int) -> float:
        integer("the step of a schedule", step, least=0)
        return (step + 1) / self.warmup if step < self.warmup else self.after_warmup(step)

    def after_warmup(self, step: int) -> float:
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(Schedule):
    """1 after the warm-up."""

    warmup: int = 0

    def after_warmup(self, step: int) -> float:
        return 1.0


@dataclass(frozen=True)
class Linear(Schedule):
    """A straight line from 1 to `min_factor`."""

    steps: int
    warmup: int = 0
    min_factor: float = 0.0

    def after_warmup(self, step: int) -> float:
        return 1 - (1 - self.min_factor) * _progress(step, self.warmup, self.steps)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a period of a cosine from 1 to `min_factor` (Loshchilov and Hutter 2017, eq. 5)."""

    steps: int
    warmup: int = 0
    min_factor: float = 0.0

    def after_warmup(self, step: int) -> float:
        wave = (1 + math.cos(math.pi * _progress(step, self.warmup, self.steps))) / 2
        return self.min_factor + (1 - self.min_factor) * wave


@dataclass(frozen=True)
class WSD(Schedule):
    """Warm-up, stable, decay: 1 until the last `decay` steps, then a straight line to `min_factor`
    (Hu et al. 2024, section 4). A longer run needs only another decay from where it was stable."""

    steps: int
    decay: int
    warmup: int = 0
    min_factor: float = 0.0

    def after_warmup(self, step: int) -> float:
        return 1 - (1 - self.min_factor) * _progress(step, self.steps - self.decay, self.steps)


def _progress(step: int, start: int, stop: int) -> float:
    """0 up to `start`, 1 from `stop` on, a straight line between."""
    if step >= stop:
        return 1.0
    return max(0.0, (step - start) / (stop - start)) if start < stop else 0.0
