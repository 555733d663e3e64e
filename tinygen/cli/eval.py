"""The validation loss of a run, on the held-out part of its own data: tinygen eval runs/demo"""

import argparse
import json
import math

import numpy as np

from tinygen.backend import tune_allocator
from tinygen.backend.threads import blas_threads
from tinygen.cli.parser import Parser
from tinygen.cli.saved import rebuilt, saved_config, saved_family, trained_state
from tinygen.errors import DivergedError
from tinygen.training.run import Run


def add_options(parser: Parser) -> None:
    parser.add_argument("run_folder", metavar="RUN")
    parser.add_argument("--step", type=int, help="the checkpoint to take (the best)")
    parser.add_argument("--json", action="store_true", help="the result as JSON")


def run(options: argparse.Namespace) -> int:
    run = Run(options.run_folder)
    chosen = saved_family(run)
    tune_allocator()
    config = saved_config(run, chosen)
    state = trained_state(run, options.step)
    recipe = rebuilt(run, chosen, config)
    with run.named_errors():
        recipe.load_state_dict(state)
    step = recipe.steps_done
    # As in training, threads and all: the same number to the last bit.
    with blas_threads(config.training.threads), np.errstate(all="ignore"):
        metrics = recipe.evaluate()
    for metric, value in metrics.items():
        if not math.isfinite(value):
            raise DivergedError(
                f"{metric} of {run.path} at step {step} is {value}: its training diverged; take "
                "another checkpoint with --step"
            )
    name, baseline = recipe.baseline()
    if options.json:
        print(json.dumps({"run": str(run.path), "step": step, **metrics, name: baseline}))
    else:
        print(
            f"step {step}: validation loss {metrics['val_loss']:.4f} "
            f"(a {name} model: {baseline:.4f})"
        )
    return 0
