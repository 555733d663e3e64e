"""The validation loss of a run, on the held-out part of its own data: tinygen eval runs/demo"""

import argparse
import json

from tinygen.backend import tune_allocator
from tinygen.backend.threads import blas_threads
from tinygen.cli.parser import Parser
from tinygen.cli.session import saved_config, trained_state
from tinygen.recipes import family
from tinygen.training.run import Run


def add_options(parser: Parser) -> None:
    parser.add_argument("run_folder", metavar="RUN")
    parser.add_argument("--step", type=int, help="the checkpoint to take (the best)")
    parser.add_argument("--json", action="store_true", help="the result as JSON")


def run(options: argparse.Namespace) -> int:
    run = Run(options.run_folder)
    chosen = family(run.family)
    tune_allocator()
    config = saved_config(run, chosen)
    recipe = chosen.build(config)
    recipe.load_state_dict(trained_state(run, options.step))
    with blas_threads(config.training.threads):  # as in training: the same number to the last bit
        metrics = recipe.evaluate()
    step = recipe.steps_done
    name, baseline = recipe.baseline()
    if options.json:
        print(json.dumps({"run": str(run.path), "step": step, **metrics, name: baseline}))
    else:
        print(
            f"step {step}: validation loss {metrics['val_loss']:.4f} "
            f"(a {name} model: {baseline:.4f})"
        )
    return 0
