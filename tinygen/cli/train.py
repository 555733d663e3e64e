"""Train a model, or continue a run where its newest checkpoint stands.

tinygen train gpt --data docs --preset nano --steps 2000
tinygen train gpt --data notes.txt --budget 90s --model.n-layer 6
tinygen train --resume runs/demo
"""

import argparse
import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tinygen.backend import tune_allocator
from tinygen.cli.parser import Parser
from tinygen.cli.saved import rebuilt, saved_config, saved_family
from tinygen.cli.session import (
    SHORT_NAMES,
    new_run,
    note,
    train_run,
    within_budget,
)
from tinygen.errors import UsageError
from tinygen.files import require_writable
from tinygen.recipes import FAMILIES, Family, family
from tinygen.training.budget import parse_budget
from tinygen.training.config import Settings, nearest, read_config
from tinygen.training.environment import changes, environment
from tinygen.training.recipe import Metrics
from tinygen.training.run import Run, default_folder, require_new

_BESIDE_RESUME = ("training.steps", "training.device")


def add_options(parser: Parser) -> None:
    parser.add_argument("family", nargs="?", metavar="FAMILY", help=", ".join(FAMILIES))
    presets = "; ".join(f"{name}: {', '.join(family(name).presets)}" for name in FAMILIES)
    parser.add_argument("--preset", help=f"where the settings start from ({presets})")
    parser.add_argument("--config", metavar="FILE", help="settings from a .toml or .json file")
    parser.add_argument("--budget", metavar="TIME", help="90s, 2m, 1.5h: find the steps for it")
    parser.add_argument(
        "--depth", type=int, metavar="N", help="blocks; width, heads, lr and steps follow from it"
    )
    parser.add_argument("--estimate", action="store_true", help="say what it takes, and end")
    parser.add_argument("--out", metavar="DIR", help="a new folder (runs/DATE-FAMILY-PRESET)")
    parser.add_argument("--resume", metavar="RUN", help="continue the run in this folder")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    named = [name for name in FAMILIES if name in parser.arguments[:1]] or FAMILIES
    leaves = {leaf.path: leaf for name in named for leaf in _defaults(name).leaves()}
    parser.add_settings(leaves.values(), SHORT_NAMES)


def run(options: argparse.Namespace) -> int:
    if options.estimate:
        return _estimate(options)
    resumes = options.resume is not None
    metrics, run, criterion = _resume(options) if resumes else _start(options)
    if options.json:
        print(json.dumps({"run": str(run.path), "command": run.command, **metrics}))
    elif criterion in metrics:
        name = "validation loss" if criterion == "val_loss" else criterion
        sample = shlex.join(["tinygen", "sample", str(run.path)])
        print(
            f"{name} {metrics[criterion]:.4f} after the last step, "
            f"{metrics[f'best_{criterion}']:.4f} at its best (step {metrics['best_step']})\n"
            f"next: {sample}"
        )
    return 0


def _chosen(options: argparse.Namespace) -> tuple[Family, str, Any]:
    """The family, the preset and the configuration that the options name."""
    if options.family is None:
        raise UsageError(f"train needs a family ({', '.join(FAMILIES)}), or --resume RUN")
    chosen = family(options.family)
    preset = options.preset or next(iter(chosen.presets))
    if preset not in chosen.presets:
        raise UsageError(f"there is no preset {preset!r}; {nearest(preset, chosen.presets)}")
    return chosen, preset, _configured(options, chosen, preset)


def _estimate(options: argparse.Namespace) -> int:
    chosen, _, config = _chosen(options)
    if chosen.cost is None:
        raise UsageError(f"--estimate is not there for {chosen.name}; leave it out")
    cost = chosen.cost(config)
    print(json.dumps(asdict(cost)) if options.json else cost)
    return 0


def _start(options: argparse.Namespace) -> tuple[Metrics, Run, str]:
    chosen, preset, config = _chosen(options)
    path = Path(options.out) if options.out else default_folder(chosen.name, preset)
    if options.out:
        require_new(path)
    require_writable(path, parents=True)
    if options.budget:
        if any(path == "training.steps" for path, _ in options.settings):
            raise UsageError("--budget finds the steps; give either --budget or --steps")
        config = within_budget(chosen, config, parse_budget(options.budget))
    run, recipe = new_run(chosen, preset, config, path, numbered=not options.out)
    return train_run(run, recipe, chosen, config, debug=options.debug), run, recipe.criterion


def _configured(options: argparse.Namespace, chosen: Family, preset: str) -> Any:
    """The preset, under the configuration file, under the command line."""
    values = _file_values(options.config, chosen) if options.config else {}
    where, base = options.config or "command line", chosen.presets[preset]
    config = base.overridden(options.settings, values=values, where=where, typed=options.typed)
    if options.depth is None:
        return config
    if chosen.dial is None:
        raise UsageError(f"--depth is not there for {chosen.name}; give the sizes of its model")
    derived = base.updated(chosen.dial(config, base, options.depth), where="--depth")
    return derived.overridden(options.settings, values=values, where=where, typed=options.typed)


def _resume(options: argparse.Namespace) -> tuple[Metrics, Run, str]:
    others = ("family", "preset", "config", "budget", "out", "depth")
    given = [name for name in others if getattr(options, name) is not None]
    if given or any(path not in _BESIDE_RESUME for path, _ in options.settings):
        raise UsageError(
            "--resume takes all from the run; only --steps and --device may be given beside it"
        )
    run = Run(options.resume)
    chosen = saved_family(run)
    before = saved_config(run, chosen)
    config = before.overridden(options.settings, typed=options.typed)
    lasting = config.on(before.training.device)  # another device is for this command alone
    done = max(run.steps(), default=0)
    if done == config.training.steps:
        note(f"{run.path} has all its {done} steps; to go on: {run.resume_command} --steps N")
    different = changes(run.environment, environment())
    if config != lasting:
        different.append(f"device {before.training.device} -> {config.training.device}")
    if different:
        note(f"not the same numbers as without a break, perhaps: {'; '.join(different)}")
    tune_allocator()
    recipe = rebuilt(run, chosen, config)

    def extend() -> None:
        if lasting != before:
            _require_complete(run, recipe.steps_done, before.training.steps, config.training.steps)
            run.extend(lasting)
        note(f"continuing {run.path} from step {recipe.steps_done}; to reproduce:\n{run.command}")

    metrics = train_run(run, recipe, chosen, config, debug=options.debug, on_restored=extend)
    return metrics, run, recipe.criterion


def _require_complete(run: Run, done: int, steps: int, wanted: int) -> None:
    """Raises UsageError unless a run may become one of `wanted` steps: only a complete one may,
    since no command reproduces a schedule that changes half way."""
    if wanted < done:
        raise UsageError(f"{run.path} is at step {done} already; give --steps more than that")
    if done != steps:
        raise UsageError(
            f"{run.path} is at step {done} of {steps}, and --steps {wanted} would bend its "
            f"schedule half way, which no command reproduces; first let it end: "
            f"{run.resume_command}"
        )


def _defaults(name: str) -> Settings:
    return next(iter(family(name).presets.values()))


def _file_values(path: str, chosen: Family) -> dict[str, Any]:
    """The settings in a file; a run's own config.json also names the family."""
    values = read_config(path)
    name = values.pop("family", chosen.name)
    if name != chosen.name:
        raise UsageError(f"{path} is for the family {name!r}, not {chosen.name!r}")
    return values
