"""What `train` and `demo` share: a recipe, trained in its run folder under the user's eyes."""

import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinygen.backend import tune_allocator
from tinygen.backend.threads import blas_threads
from tinygen.checkpoints import State
from tinygen.errors import DivergedError, InputError, Interrupted, UsageError
from tinygen.recipes import Family, family
from tinygen.training.budget import steps_within
from tinygen.training.config import as_text, differences, option
from tinygen.training.divergence import first_bad_op, not_finite
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

_ATTEMPTS = 3
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


def saved_config(run: Run, family: Family) -> Any:
    """The configuration that a run was started with. Raises InputError where it is damaged."""
    base = next(iter(family.presets.values()))
    path = run.path / "config.json"
    try:
        return base.updated(run.config_values, where=str(path))
    except UsageError as error:  # nobody typed it
        raise InputError(f"{error}; {path} is damaged, restore it") from error


def saved_family(run: Run) -> Family:
    """The family of a run. Raises InputError."""
    try:
        return family(run.family)
    except UsageError as error:
        raise InputError(f"{run.path / 'config.json'}: {error}") from error


def rebuilt(run: Run, family: Family, config: Any) -> Recipe:
    """The recipe of an existing run, at step 0. Data that are not there may be a relative path."""
    try:
        return family.build(config)
    except InputError as error:
        raise InputError(
            f"{error}. (Relative paths of the run {run.path} count from the folder in which it was "
            "started.)"
        ) from error


def trained_state(run: Run, step: int | None) -> State:
    """The state of checkpoint `step`, by default of the one with the best evaluation.

    Where that one was removed, the newest. A run that is being trained meanwhile may remove what
    was just chosen: then all is looked up again. Raises InputError, and DivergedError where the
    state holds values that are not finite.
    """
    for attempt in range(_ATTEMPTS):
        before = run.steps()
        try:
            state = _state(run, step)
        except InputError:
            if run.steps() == before or attempt == _ATTEMPTS - 1:
                raise
            continue
        culprit = not_finite(state)
        if culprit:
            raise DivergedError(
                f"the checkpoint of step {state['steps_done']} in {run.path} is of a training that "
                f"diverged: {culprit} holds values that are not finite; take another --step"
            )
        return state
    raise AssertionError("the last attempt returns or raises")


def _state(run: Run, step: int | None) -> State:
    chosen = run.best_step() if step is None else step
    if step is None and chosen is not None and chosen not in run.steps():
        note(f"the best checkpoint, of step {chosen}, was removed; the newest serves instead")
        chosen = None
    state = run.load(chosen)
    if state is None:
        raise InputError(f"{run.path} has no checkpoint yet; train it: {run.resume_command}")
    return state


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
