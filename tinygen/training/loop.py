"""The training loop: step, evaluate, log, save; the same for every family.

What a step computes depends on the recipe's state alone, and what the loop does after it on the
step's number alone. So a run that is stopped anywhere and resumed from its last checkpoint goes
through the same numbers, bit for bit (on the same machine, versions and thread count).
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from tinygen.errors import DivergedError, Interrupted
from tinygen.training.metrics import MetricsLog
from tinygen.training.progress import Progress
from tinygen.training.recipe import Metrics, Recipe, TrainingSettings
from tinygen.training.run import Run


@dataclass
class Standing:
    """What the loop itself remembers: it belongs to every checkpoint, beside the recipe's state."""

    best_step: int = 0
    best_val_loss: float | None = None
    seconds: float = 0.0

    def improves(self, step: int, val_loss: float) -> bool:
        if self.best_val_loss is not None and val_loss >= self.best_val_loss:
            return False
        self.best_step, self.best_val_loss = step, val_loss
        return True


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
    saving, DivergedError where a metric is not finite (the checkpoints before it stay), OutputError
    where something cannot be written, UsageError where another process trains this run.
    """
    # Overflow is looked for in the metrics, once a step; trace.py can name where it began.
    with run.sole_writer(), np.errstate(all="ignore"):
        run.clean()
        standing = Standing()
        state = run.load()
        if state is not None:
            standing = Standing(**state["loop"])
            recipe.load_state_dict(state)
            run.prune(standing.best_step)
        with MetricsLog(run.metrics_path, keep_until=recipe.steps_done) as log:
            return _train(recipe, settings, run, log, standing, progress, stop_requested)


def _train(
    recipe: Recipe,
    settings: TrainingSettings,
    run: Run,
    log: MetricsLog,
    standing: Standing,
    progress: Progress,
    stop_requested: Callable[[], bool],
) -> Metrics:
    began = time.perf_counter() - standing.seconds
    metrics: Metrics = {}
    while recipe.steps_done < settings.steps:
        metrics = recipe.step(recipe.next_batch())
        step = recipe.steps_done
        _require_finite(metrics, step, run)
        last, improved = step == settings.steps, False
        if last or step % settings.eval_every == 0:
            metrics |= recipe.evaluate()
            _require_finite(metrics, step, run)
            improved = standing.improves(step, metrics["val_loss"])
        standing.seconds = time.perf_counter() - began
        if step == 1 or "val_loss" in metrics or step % settings.log_every == 0:
            log.append({"step": step, **metrics, "seconds": round(standing.seconds, 3)})
        progress.update(step, metrics)
        interrupted = stop_requested() and not last
        if last or improved or interrupted or step % settings.save_every == 0:
            log.sync()
            state = {**recipe.state_dict(), "loop": asdict(standing)}
            run.save(step, state, best=standing.best_step)
        if interrupted:
            raise Interrupted(
                f"interrupted at step {step} of {settings.steps}, and saved; continue with "
                f"{run.resume_command}"
            )
    if standing.best_val_loss is not None:
        metrics |= {"best_val_loss": standing.best_val_loss, "best_step": standing.best_step}
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
