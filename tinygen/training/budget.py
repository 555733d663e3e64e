"""A time budget turned into a number of steps, by timing the first ones.

The steps are timed on a recipe that is thrown away: the learning-rate schedule depends on the
number of steps, so the run proper starts afresh once that number is known. A run is then named by
its steps, which reproduce it, and never by its seconds, which do not.
"""

import re
import time
from collections.abc import Callable

from tinygen.errors import UsageError
from tinygen.training.recipe import Recipe

_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_TIMED_STEPS = 40


def parse_budget(text: str) -> float:
    """Seconds in "90s", "2m", "1.5h" or "90". Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)([smh]?)", text.strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < seconds < float("inf"):
        raise UsageError(f"a budget is a time such as 90s, 2m or 1.5h, not {text!r}")
    return seconds


def steps_within(
    seconds: float,
    recipe: Recipe,
    *,
    eval_every: int,
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """How many steps of `recipe`, evaluations included, fit in `seconds` from now: at least 1.

    Times an evaluation and then up to 40 steps, for at most a twentieth of the budget, and takes
    the median step, which a hiccup of the machine does not move. Uses the recipe up.
    """
    start = clock()
    recipe.step(recipe.next_batch())  # the first one also fills caches
    before = clock()
    recipe.evaluate()
    evaluation = clock() - before
    durations: list[float] = []
    while len(durations) < _TIMED_STEPS and (not durations or sum(durations) < seconds / 20):
        before = clock()
        recipe.step(recipe.next_batch())
        durations.append(clock() - before)
    step = sorted(durations)[len(durations) // 2]
    left = seconds - (clock() - start) - evaluation  # the last step is always followed by one
    return max(1, _round_down(int(left / max(step + evaluation / eval_every, 1e-9))))


def _round_down(steps: int) -> int:
    """Two leading digits: 1873 becomes 1800, a number that a person can type."""
    unit = int("1" + "0" * (len(str(steps)) - 2))
    return steps // unit * unit
