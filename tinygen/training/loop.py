"""The training loop: step, evaluate, log, save; the same for every family.

What a step computes depends on the recipe's state alone, and what the loop does after it on the
step's number alone. So a run that is stopped anywhere and resumed from its last checkpoint goes
through the same numbers, bit for bit (on the same machine, versions and thread count).
"""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygen.errors import DivergedError, Interrupted
from tinygen.training.metrics import MetricsLog
from tinygen.training.progress import Progress
from tinygen.training.recipe import Metrics, Recipe, TrainingSettings
from tinygen.training.run import Run


def train(
    recipe: Recipe,
    settings: TrainingSettings,
    run: Run,
    *,
    progress: Progress,
    stop_requested: Callable[[], bool] = lambda: False,
) -> Metrics:
    """Train from the run's newest checkpoint, or from the start, to `settings.steps`.

    Returns the metrics of the last step, `best_val_loss` and `best_step`. Raises Interrupted after
    saving, DivergedError where a metric is not finite (the checkpoints before stay), OutputError.
    """
    run.clean()
    state = run.load()
    best: dict[str, Any] | None = None
    seconds = 0.0
    if state is not None:
        best, seconds = state["loop"]["best"], state["loop"]["seconds"]
        recipe.load_state_dict(state)
    began = time.perf_counter() - seconds
    metrics: Metrics = {}
    log = MetricsLog(run.metrics_path, keep_until=recipe.steps_done)
    # Overflow is found in the metrics, once a step, and named by the recorder of trace.py.
    with np.errstate(all="ignore"), log:
        while recipe.steps_done < settings.steps:
            metrics = recipe.step(recipe.next_batch())
            step = recipe.steps_done
            last = step == settings.steps
            improved = False
            _require_finite(metrics, step, run)
            if last or step % settings.eval_every == 0:
                metrics |= recipe.evaluate()
                _require_finite(metrics, step, run)
                improved = best is None or metrics["val_loss"] < best["val_loss"]
                if improved:
                    best = {"step": step, "val_loss": metrics["val_loss"]}
            seconds = time.perf_counter() - began
            if step == 1 or "val_loss" in metrics or step % settings.log_every == 0:
                log.append({"step": step, **metrics, "seconds": round(seconds, 3)})
            progress.update(step, metrics)
            stop = stop_requested() and not last
            if last or improved or stop or step % settings.save_every == 0:
                log.sync()
                loop = {"step": step, "best": best, "seconds": seconds}
                kept = best["step"] if best else None
                run.save(step, {**recipe.state_dict(), "loop": loop}, best=kept)
            if stop:
                raise Interrupted(
                    f"interrupted at step {step} of {settings.steps}, and saved; continue with "
                    f"tinygen train --resume {run.path}"
                )
    if best is not None:
        metrics |= {"best_val_loss": best["val_loss"], "best_step": best["step"]}
    return metrics


def _require_finite(metrics: Metrics, step: int, run: Run) -> None:
    for name, value in metrics.items():
        if math.isfinite(value):
            continue
        saved = run.steps()
        kept = run.checkpoint(saved[-1]) if saved else "none, it was too early"
        raise DivergedError(
            f"{name} became {value} at step {step}, and training stopped; the last good checkpoint "
            f"is {kept}. Try a lower learning rate; --debug names the first op that gave a "
            "non-finite value"
        )
