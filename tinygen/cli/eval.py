"""Measure a run on the held-out part of its own data: tinygen eval runs/demo/gpt

Images are also judged by distances of samples to held-out ones, between a floor (real images) and
a ceiling (a Gaussian fit); the VAE by importance-sampled likelihood. The samples are drawn as
`sample` draws them with the same options:

tinygen eval runs/mine --guidance 3 --steps 18 --samples 1000
"""

import argparse
import json
import math
from typing import Any

import numpy as np

from tinygen.backend import tune_allocator
from tinygen.backend.threads import blas_threads
from tinygen.cli.parser import Parser
from tinygen.cli.saved import rebuilt, saved_config, saved_family, trained_state
from tinygen.errors import DivergedError, UsageError
from tinygen.random import Generator
from tinygen.recipes import FAMILIES, family
from tinygen.training.run import Run

_JUDGED_AS_A_WHOLE = ("label", "what")
"""Options of `sample` that draw a part of what a model makes; eval judges all of it."""


def add_options(parser: Parser) -> None:
    parser.add_argument("run_folder", metavar="RUN")
    parser.add_argument("--step", type=int, help="the checkpoint to take (the best)")
    parser.add_argument(
        "--samples", type=int, default=2000, help="how many are judged, of images and points (2000)"
    )
    parser.add_argument(
        "--copied",
        type=int,
        metavar="TOKENS",
        help="of text: the longest run of a sample of so many that stands in the training text",
    )
    parser.add_argument(
        "--lines",
        type=int,
        metavar="N",
        help="of text: how many of N lines are unique and novel, and of molecules valid",
    )
    parser.add_argument(
        "--infill",
        type=int,
        metavar="N",
        help="of runs with --data.fim: how many of N held-out lines and spans are filled in",
    )
    parser.add_argument(
        "--bound",
        type=int,
        metavar="N",
        help="of text in lines: N bound to held-out lines' words and length, beside free ones",
    )
    painters = [family(name) for name in FAMILIES if family(name).output == "arrays"]
    leaves = {leaf.path: leaf for painter in painters for leaf in painter.sampling.leaves()}
    kept = [leaf for path, leaf in leaves.items() if path not in _JUDGED_AS_A_WHOLE]
    parser.add_settings(kept, {})
    parser.add_argument("--device", help="cpu, cuda:0 or sim (the one that it was trained on)")
    parser.add_argument("--json", action="store_true", help="the result as JSON")


def run(options: argparse.Namespace) -> int:
    if options.samples < 100:
        raise UsageError(f"--samples must be at least 100, not {options.samples}")
    run = Run(options.run_folder)
    chosen = saved_family(run)
    sampling = chosen.judged.overridden(options.settings, typed=options.typed)
    tune_allocator()
    config = saved_config(run, chosen).on(options.device)
    state = trained_state(run, options.step)
    recipe: Any = rebuilt(run, chosen, config)
    with run.named_errors():
        recipe.load_state_dict(state)
    step = recipe.steps_done
    # As in training, threads and all: the same number to the last bit.
    with blas_threads(config.training.threads), np.errstate(all="ignore"):
        metrics = recipe.evaluate()
        if chosen.output == "arrays":
            metrics |= recipe.assess(options.samples, sampling)
        elif hasattr(recipe, "measured"):
            metrics |= recipe.measured()
    for metric, value in metrics.items():
        if not math.isfinite(value):
            raise DivergedError(
                f"{metric} of {run.path} at step {step} is {value}: its training diverged; take "
                "another checkpoint with --step"
            )
    trivial, baseline = recipe.baseline()
    rng = Generator(config.training.seed)
    for name, what in (("copied", "TOKENS"), ("lines", "N"), ("infill", "N"), ("bound", "N")):
        wanted = getattr(options, name)
        if wanted is not None:
            if not hasattr(recipe, name) or wanted < 1:
                raise UsageError(f"--{name} {what} is for models of text, and at least 1")
            with np.errstate(all="ignore"):
                metrics |= getattr(recipe, name)(rng.spawn(name), wanted)
    if options.json:
        found = {"run": str(run.path), "step": step, **metrics, trivial: baseline}
        print(json.dumps(found | {"findings": list(recipe.findings())}))
        return 0
    criterion = recipe.criterion
    what = "validation loss" if criterion == "val_loss" else criterion.replace("_", " ")
    print(f"step {step}: {what} {metrics.pop(criterion):.4f} ({trivial}: {baseline:.4f})")
    for metric, value in metrics.items():
        told = f"{value:10.4f}" if isinstance(value, float) else repr(value)
        print(f"  {metric.replace('_', ' '):28} {told}")
    for finding in recipe.findings():
        print(f"  finding: {finding}")
    return 0
