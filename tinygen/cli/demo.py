"""Train a small GPT on text that every Python has, and let it write: about 75 seconds.

The model is nanoGPT's for a CPU, the text the language reference of this Python, byte by byte. It
has to beat a bigram model, which counts how often each byte follows each other byte.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from tinygen.backend.threads import blas_threads
from tinygen.cli.parser import Parser
from tinygen.cli.session import new_run, note, train_run, within_budget
from tinygen.random import Generator
from tinygen.recipes import family
from tinygen.training.budget import parse_budget
from tinygen.training.recipe import Recipe
from tinygen.training.run import fresh_folder

_SAMPLE = {"prompt": "The ", "tokens": 300}
_SECONDS_TO_SAMPLE = 5.0
_NOT_BEATEN = 6


def add_options(parser: Parser) -> None:
    parser.add_argument("--budget", metavar="TIME", default="75s", help="for all of it (75s)")
    parser.add_argument("--seed", type=int, default=0, help="of every random stream (0)")
    parser.add_argument("--out", metavar="DIR", help="a new folder (runs/demo, runs/demo-2, ...)")
    parser.add_argument("--json", action="store_true", help="the result as JSON")


def run(options: argparse.Namespace) -> int:
    began = time.perf_counter()
    seconds = parse_budget(options.budget)
    gpt = family("gpt")
    config: Any = gpt.presets["nano"]
    config = config.updated({"training": {"seed": options.seed}}, where="command line")
    left = max(1.0, seconds - _SECONDS_TO_SAMPLE - (time.perf_counter() - began))
    config = within_budget(gpt, config, left)
    path = Path(options.out) if options.out else fresh_folder(Path("runs") / "demo")
    run, recipe = new_run(gpt, "nano", config, path)
    name, baseline = recipe.baseline()
    note(f"to beat: {baseline:.4f} nats a byte, the validation loss of a {name} model")
    metrics = train_run(run, recipe, gpt, config, debug=options.debug)
    with blas_threads(config.training.threads):
        text = _write(recipe, gpt.sampling.updated(_SAMPLE, where="demo"), options)
    took, val_loss = time.perf_counter() - began, metrics["val_loss"]
    beaten = val_loss < baseline
    if options.json:
        result = {"seconds": round(took, 1), "run": str(run.path), "command": run.command}
        print(json.dumps({**result, **metrics, name: baseline, "beaten": beaten, "sample": text}))
    else:
        print(
            f"\nvalidation loss {val_loss:.4f} nats a byte, {name} model {baseline:.4f}: "
            f"{'beaten' if beaten else 'NOT beaten'}, in {took:.0f} s and "
            f"{config.training.steps} steps\n\n"
            f"  {run.path}/metrics.jsonl    the losses, step by step\n"
            f"  {run.path}/checkpoints      the model: "
            f'tinygen sample {run.path} --prompt "A class " --stream\n'
            f"  {run.path}/command.txt      what reproduces it: {run.command}"
        )
    if not beaten:
        note("the model did not beat the baseline: give it a larger --budget")
    return 0 if beaten else _NOT_BEATEN


def _write(recipe: Recipe, sampling: Any, options: argparse.Namespace) -> str:
    """Sample once; on the terminal as it comes, unless the result is JSON."""
    pieces = []
    for piece in recipe.sample(Generator(options.seed), sampling):
        pieces.append(piece)
        if not options.json:
            sys.stdout.write(piece)
            sys.stdout.flush()
    return "".join(pieces)
