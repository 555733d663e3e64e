"""The training loop: step, evaluate, log, save; the same for every family.

What a step computes depends on the recipe's state alone, and what the loop does after it on the
step's number alone. So a run that is stopped anywhere and resumed from its last checkpoint goes
through the same numbers, bit for bit (on the same machine, versions and thread count).
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from tinygen.errors import DivergedError, Interrupted
from tinygen.training.divergence import not_finite
from tinygen.training.metrics import MetricsLog
from tinygen.training.progress import Progress
from tinygen.training.recipe import Metrics, Recipe, TrainingSettings
from tinygen.training.run import Run


@dataclass
class Standing:
    """What the loop itself remembers: it belongs to every checkpoint, beside the recipe's state."""

    best_step: int = 0
    best: float | None = None  # the recipe's criterion at that step
    seconds: float = 0.0

    def improves(self, step: int, value: float) -> bool:
        if self.best is not None and value >= self.best:
            return False
        self.best_step, self.best = step, value
        return True


def train(
    recipe: Recipe,
    settings: TrainingSettings,
    run: Run,
    *,
    progress: Progress,
    stop_requested: Callable[[], bool] = lambda: False,
    on_restored: Callable[[], None] = lambda: None,
) -> Metrics:
    """Train from the run's newest checkpoint, or from the start, to `settings.steps`.

    `on_restored` is called once nobody else can train this run and the recipe stands where its
    newest checkpoint does; until it returns, nothing in the run folder is changed.

    Returns the metrics of the last step, the `train_seconds` of the whole run, and where it was
    evaluated `best_step` and the criterion there, such as `best_val_loss`. Raises Interrupted after
    saving, DivergedError where a metric, or a value that a checkpoint would hold, is not finite
    (the checkpoints before it stay), OutputError where something cannot be written, UsageError
    where another process trains this run.
    """
    # Overflow is looked for in the metrics, once a step; trace.py can name where it began.
    with run.sole_writer(), np.errstate(all="ignore"):
        standing = _restored(recipe, run)
        on_restored()
        run.clean()
        run.prune(standing.best_step)
        with MetricsLog(run.metrics_path, keep_until=recipe.steps_done) as log:
            return _train(recipe, settings, run, log, standing, progress, stop_requested)


def _restored(recipe: Recipe, run: Run) -> Standing:
    """Bring `recipe` to the newest checkpoint, if there is one."""
    run.require_whole()
    state = run.load()
    if state is None:
        return Standing()
    with run.named_errors():
        recipe.load_state_dict(state)
    standing = Standing(**state["loop"])
    if standing.best_step not in run.steps():  # removed by hand: what is there is to be beaten
        standing.best_step, standing.best = 0, None
    return standing


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
    told: set[str] = set()  # the names of findings
    while recipe.steps_done < settings.steps:
        metrics = recipe.step(recipe.next_batch())
        step = recipe.steps_done
        _require_finite(metrics, step, run)
        last = step == settings.steps
        evaluated, improved = last or step % settings.eval_every == 0, False
        findings: Sequence[str] = ()
        if evaluated:
            metrics |= recipe.evaluate()
            _require_finite(metrics, step, run)
            improved = standing.improves(step, metrics[recipe.criterion])
            findings = recipe.findings()
        if step == 1 or evaluated or step % settings.log_every == 0:
            log.append({"step": step, **metrics, **({"findings": findings} if findings else {})})
        progress.update(step, metrics)
        for finding in findings:
            name = finding.partition(":")[0]
            if name not in told:
                told.add(name)
                progress.tell(f"step {step}: {finding}")
        interrupted = stop_requested() and not last
        if last or improved or interrupted or step % settings.save_every == 0:
            standing.seconds = time.perf_counter() - began
            _save(recipe, run, log, standing)
        if interrupted:
            raise Interrupted(
                f"interrupted at step {step} of {settings.steps}, and saved; continue with "
                f"{run.resume_command}"
            )
    metrics |= {"train_seconds": round(standing.seconds, 3)}
    if standing.best is not None:
        metrics |= {f"best_{recipe.criterion}": standing.best, "best_step": standing.best_step}
    return metrics


def _save(recipe: Recipe, run: Run, log: MetricsLog, standing: Standing) -> None:
    """Write a checkpoint of which every value is finite, and the log before it."""
    state = recipe.state_dict()
    culprit = not_finite(state)
    if culprit:
        raise _diverged(f"{culprit} is no longer finite after", recipe.steps_done, run)
    log.sync()
    run.save(recipe.steps_done, {**state, "loop": asdict(standing)}, best=standing.best_step)


def _require_finite(metrics: Metrics, step: int, run: Run) -> None:
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise _diverged(f"{name} became {value} at", step, run)


def _diverged(what: str, step: int, run: Run) -> DivergedError:
    saved = run.steps()
    kept = (
        f"the last good checkpoint is {run.checkpoint(saved[-1])}"
        if saved
        else ("it was too early for a checkpoint")
    )
    return DivergedError(
        f"{what} step {step}, and training stopped; {kept}. Try a lower learning rate; --debug "
        "names the first op that gave a non-finite value"
    )
