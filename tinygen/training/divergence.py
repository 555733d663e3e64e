"""Values that are not finite: whether a state has one, and which op gave the first."""

from typing import Any

import numpy as np

from tinygen import trace
from tinygen.checkpoints import State
from tinygen.errors import DivergedError
from tinygen.training.recipe import Recipe
from tinygen.training.run import Run


def not_finite(state: State, path: str = "") -> str | None:
    """The path of the first array or number in `state` that holds a NaN or an infinity."""
    for name, value in state.items():
        if isinstance(value, dict):
            culprit = not_finite(value, f"{path}{name}/")
            if culprit:
                return culprit
        elif not _finite(value):
            return path + name
    return None


def first_bad_op(recipe: Recipe, run: Run, step: int) -> str:
    """A sentence on why the step number `step`, or the evaluation after it, diverged.

    `recipe` is a fresh one, at step 0; it goes to the run's newest checkpoint and from there
    through the same numbers as the first time. The last two steps are recorded op by op: the
    update that ends one may be what the next one stumbles over.
    """
    state = run.load()
    if state is not None:
        recipe.load_state_dict(state)
    with np.errstate(all="ignore"):
        while recipe.steps_done < step - 2:
            recipe.step(recipe.next_batch())
        try:
            while recipe.steps_done < step:
                with trace.record(check_finite=True):
                    recipe.step(recipe.next_batch())
                culprit = not_finite(recipe.state_dict())
                if culprit:
                    return (
                        f"every op of step {recipe.steps_done} gave finite values, and the "
                        f"optimiser's update that ends it made {culprit} infinite or NaN"
                    )
            with trace.record(check_finite=True):
                recipe.evaluate()
        except DivergedError as error:
            return str(error)
    return "computed again, op by op, every value was finite"


def _finite(value: Any) -> bool:
    """Of an array or a JSON value; what is no number is finite."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fc":
        return bool(np.isfinite(value).all())
    return not isinstance(value, float) or bool(np.isfinite(value))
