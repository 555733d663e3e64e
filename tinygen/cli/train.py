"""Train a model, or continue a run where its newest checkpoint stands.

tinygen train gpt --data docs --preset nano --steps 2000
tinygen train gpt --data notes.txt --budget 90s --model.n-layer 6
tinygen train --resume runs/demo
"""

import argparse
import json
from pathlib import Path
from typing import Any

from tinygen.backend import tune_allocator
from tinygen.cli.parser import Parser
from tinygen.cli.session import (
    SHORT_NAMES,
    new_run,
    note,
    saved_config,
    train_run,
    within_budget,
)
from tinygen.errors import UsageError
from tinygen.recipes import FAMILIES, Family, family
from tinygen.training.budget import parse_budget
from tinygen.training.config import Settings, nearest, read_config
from tinygen.training.environment import changes, environment
from tinygen.training.recipe import Metrics
from tinygen.training.run import Run, default_folder


def add_options(parser: Parser) -> None:
    parser.add_argument("family", nargs="?", metavar="FAMILY", help=", ".join(FAMILIES))
    parser.add_argument("--preset", help="where the settings start from")
    parser.add_argument("--config", metavar="FILE", help="settings from a .toml or .json file")
    parser.add_argument("--budget", metavar="TIME", help="90s, 2m, 1.5h: find the steps for it")
    parser.add_argument("--out", metavar="DIR", help="a new folder (runs/DATE-FAMILY-PRESET)")
    parser.add_argument("--resume", metavar="RUN", help="continue the run in this folder")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    leaves = {leaf.path: leaf for name in FAMILIES for leaf in _defaults(name).leaves()}
    parser.add_settings(leaves.values(), SHORT_NAMES)


def run(options: argparse.Namespace) -> int:
    metrics, run = _resume(options) if options.resume else _start(options)
    if options.json:
        print(json.dumps({"run": str(run.path), "command": run.command, **metrics}))
    elif "val_loss" in metrics:
        print(
            f"validation loss {metrics['val_loss']:.4f} after the last step, "
            f"{metrics['best_val_loss']:.4f} at its best (step {metrics['best_step']})\n"
            f'next: tinygen sample {run.path} --prompt "..."'
        )
    return 0


def _start(options: argparse.Namespace) -> tuple[Metrics, Run]:
    if options.family is None:
        raise UsageError(f"train needs a family ({', '.join(FAMILIES)}), or --resume RUN")
    chosen = family(options.family)
    preset = options.preset or next(iter(chosen.presets))
    if preset not in chosen.presets:
        raise UsageError(f"there is no preset {preset!r}; {nearest(preset, chosen.presets)}")
    config: Any = chosen.presets[preset]
    if options.config:
        config = config.updated(_file_values(options.config, chosen), where=options.config)
    config = config.overridden(options.settings)
    if options.budget:
        if any(path == "training.steps" for path, _ in options.settings):
            raise UsageError("--budget finds the steps; give either --budget or --steps")
        config = within_budget(chosen, config, parse_budget(options.budget))
    path = Path(options.out) if options.out else default_folder(chosen.name, preset)
    run, recipe = new_run(chosen, preset, config, path)
    return train_run(run, recipe, chosen, config, debug=options.debug), run


def _resume(options: argparse.Namespace) -> tuple[Metrics, Run]:
    others = (options.family, options.preset, options.config, options.budget, options.out)
    if any(others) or any(path != "training.steps" for path, _ in options.settings):
        raise UsageError("--resume takes all from the run; only --steps may be given beside it")
    run = Run(options.resume)
    chosen = family(run.family)
    before = saved_config(run, chosen)
    config = before.overridden(options.settings)
    done = max(run.steps(), default=0)
    if config.training.steps < done:
        raise UsageError(f"{run.path} is at step {done} already; give --steps more than that")
    if config.training.steps == done:
        note(f"{run.path} has all its {done} steps; to go on: {run.resume_command} --steps N")
    different = changes(run.environment, environment())
    if different:
        note(f"not the same numbers as without a break, perhaps: {'; '.join(different)}")
    tune_allocator()
    recipe = chosen.build(config)
    if config != before:
        run.extend(config, f"{run.resume_command} --steps {config.training.steps}")
    note(f"continuing {run.path} from step {done}; what reproduces it all:\n{run.command}")
    return train_run(run, recipe, chosen, config, debug=options.debug), run


def _defaults(name: str) -> Settings:
    return next(iter(family(name).presets.values()))


def _file_values(path: str, chosen: Family) -> dict[str, Any]:
    """The settings in a file; a run's own config.json also names the family."""
    values = read_config(path)
    name = values.pop("family", chosen.name)
    if name != chosen.name:
        raise UsageError(f"{path} is for the family {name!r}, not {chosen.name!r}")
    return values
