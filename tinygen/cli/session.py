"""What `train` and `demo` share: a recipe, trained in its run folder under the user's eyes."""

import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinygen.backend import tune_allocator
from tinygen.backend.threads import blas_threads
from tinygen.errors import DivergedError, Interrupted
from tinygen.recipes import Family
from tinygen.training.budget import steps_within
from tinygen.training.config import as_text, differences, option
from tinygen.training.divergence import first_bad_op
from tinygen.training.environment import environment
from tinygen.training.interruption import stop_requests
from tinygen.training.loop import train
from tinygen.training.progress import progress_for
from tinygen.training.recipe import Metrics, Recipe, RecipeConfig
from tinygen.training.run import Run

SHORT_NAMES = {
    "data.source": "--data",
    "data.tokenizer": "--tokenizer",
    "training.steps": "--steps",
    "training.batch": "--batch",
    "optimizer.lr": "--lr",
    "training.eval_every": "--eval-every",
    "training.save_every": "--save-every",
    "training.log_every": "--log-every",
    "training.seed": "--seed",
    "training.device": "--device",
}
"""Settings with a short option; every other one is `--section.field`."""

_ALWAYS_TOLD = ("data.source", "training.steps", "training.seed")


def within_budget(family: Family, config: Any, seconds: float) -> Any:
    """`config` with as many steps as fit in `seconds`, found by timing the first ones."""
    tune_allocator()
    with blas_threads(config.training.threads):
        steps = steps_within(seconds, family.build(config), eval_every=config.training.eval_every)
    note(f"{seconds:.0f} seconds are enough for {steps} steps on this machine")
    return replace(config, training=replace(config.training, steps=steps))


def new_run(
    family: Family, preset: str, config: RecipeConfig, path: Path, *, numbered: bool = False
) -> tuple[Run, Recipe]:
    """A recipe at step 0 and its new folder; no folder where the recipe cannot be built.

    With `numbered` the folder is the first free one of `path`, `path-2`, ...
    """
    tune_allocator()
    recipe = family.build(config)
    command = reproducing_command(family, preset, config)
    record = {**environment(), **recipe.describe()}
    run = Run.create(
        path, family.name, config, command=command, environment=record, numbered=numbered
    )
    note(f"run folder {run.path}; the command that reproduces it:\n  {command}")
    if "cost" in record:
        note(record["cost"])
    return run, recipe


def train_run(
    run: Run,
    recipe: Recipe,
    family: Family,
    config: RecipeConfig,
    *,
    debug: bool,
    on_restored: Callable[[], None] = lambda: None,
) -> Metrics:
    """Train to the end, or to a signal. With `debug`, a divergence is traced to its first op.

    A new run that fails before it has anything to show, for lack of memory perhaps, leaves no
    folder.
    """
    settings = config.training
    progress = progress_for(settings.steps)
    with blas_threads(settings.threads):
        try:
            with stop_requests() as stop_requested:
                return train(
                    recipe,
                    settings,
                    run,
                    progress=progress,
                    stop_requested=stop_requested,
                    on_restored=on_restored,
                )
        except KeyboardInterrupt as error:
            raise Interrupted(_stopped(run)) from error
        except DivergedError as error:
            if not debug:
                raise
            culprit = first_bad_op(family.build(config), run, recipe.steps_done)
            raise DivergedError(f"{error}. {culprit}") from error
        finally:
            progress.close()
            run.discard_unless_begun()


def _stopped(run: Run) -> str:
    """What a second Ctrl-C, which does not wait for the step at work, leaves behind."""
    if not run.steps():
        return "interrupted at once, before the first checkpoint: nothing was saved"
    return (
        f"interrupted at once; saved is step {run.steps()[-1]}, continue from there with "
        f"{run.resume_command}"
    )


def reproducing_command(family: Family, preset: str, config: RecipeConfig) -> str:
    """The one command that gives the same numbers: it has the steps, never the seconds."""
    changed = dict(differences(config, family.presets[preset]))
    words = ["tinygen", "train", family.name, "--preset", preset]
    for leaf in sorted(config.leaves(), key=lambda leaf: not leaf.path.startswith("data.")):
        if leaf.path in changed or leaf.path in _ALWAYS_TOLD:
            name, value = SHORT_NAMES.get(leaf.path, option(leaf.path)), as_text(leaf.value)
            words += [f"{name}={value}"] if value.startswith("-") else [name, value]
    return shlex.join(words)


def note(text: str) -> None:
    """Tell the user something that is not the command's result."""
    print(text, file=sys.stderr, flush=True)
