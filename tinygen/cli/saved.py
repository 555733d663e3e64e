"""What a run folder holds, for the commands that open one: family, configuration, trained state."""

from typing import Any

from tinygen.checkpoints import State
from tinygen.cli.session import note
from tinygen.errors import DivergedError, InputError, UsageError
from tinygen.recipes import Family, family
from tinygen.training.divergence import not_finite
from tinygen.training.recipe import Recipe
from tinygen.training.run import Run

_ATTEMPTS = 3


def saved_family(run: Run) -> Family:
    """The family of a run. Raises InputError."""
    try:
        return family(run.family)
    except UsageError as error:
        raise InputError(f"{run.path / 'config.json'}: {error}") from error


def saved_config(run: Run, family: Family) -> Any:
    """The configuration that a run was started with. Raises InputError where it is damaged."""
    base = next(iter(family.presets.values()))
    path = run.path / "config.json"
    try:
        return base.updated(run.config_values, where=str(path))
    except UsageError as error:  # nobody typed it
        raise InputError(f"{error}; {path} is damaged, restore it") from error


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
