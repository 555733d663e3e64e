"""Which op was the first to give a value that is not finite: found by computing the steps again."""

import numpy as np

from tinygen import trace
from tinygen.errors import DivergedError
from tinygen.training.recipe import Recipe
from tinygen.training.run import Run


def first_bad_op(recipe: Recipe, run: Run, step: int) -> str:
    """A sentence on why the step number `step` diverged.

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
        except DivergedError as error:
            return str(error)
    return "computed again, op by op, every value was finite: the evaluation is where it happened"
