"""Train all four families on embedded data, under one time budget, and show what they learned.

A GPT on text that every Python has, a VAE and a diffusion model on handwritten digits, a GAN on the
ring of eight modes. Each has to beat a baseline; the report is one HTML file that needs no network.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinygen.backend.threads import blas_threads
from tinygen.cli.parser import Parser
from tinygen.cli.session import new_run, note, train_run, within_budget
from tinygen.files import require_writable, write_atomically
from tinygen.recipes import family
from tinygen.study import tour
from tinygen.training.budget import parse_budget
from tinygen.training.environment import environment
from tinygen.training.run import fresh_folder, require_new

PLAN: dict[str, tuple[str, float, Callable[..., tour.Chapter]]] = {
    "gpt": ("nano", 0.36, tour.gpt_chapter),
    "vae": ("digits", 0.10, tour.vae_chapter),
    "gan": ("ring", 0.27, tour.gan_chapter),
    "diffusion": ("digits", 0.27, tour.diffusion_chapter),
}
"""Of each family: the preset, its share of the budget, and its chapter of the report."""

_SHARE_OF_TRAINING = 0.9
"""The rest of each share is for sampling and measuring."""

_GATE_MISSED = 6


def add_options(parser: Parser) -> None:
    parser.add_argument("--budget", metavar="TIME", default="200s", help="for all of it (200s)")
    parser.add_argument("--only", metavar="FAMILY", choices=tuple(PLAN), help="just one family")
    parser.add_argument("--seed", type=int, default=0, help="of every random stream (0)")
    parser.add_argument("--out", metavar="DIR", help="a new folder (runs/demo, runs/demo-2, ...)")
    parser.add_argument("--json", action="store_true", help="the result as JSON")


def run(options: argparse.Namespace) -> int:
    began = time.perf_counter()
    seconds = parse_budget(options.budget)
    path = Path(options.out) if options.out else fresh_folder(Path("runs") / "demo")
    require_new(path)
    require_writable(path, parents=True)
    names = [options.only] if options.only else list(PLAN)
    total = sum(PLAN[name][1] for name in names)
    chapters, commands = [], {}
    for number, name in enumerate(names, 1):
        share = seconds * PLAN[name][1] / total
        note(f"\n{number} of {len(names)}: {name}, for {share:.0f} seconds")
        chapter, command = _chapter(name, share, path / name, options)
        chapters.append(chapter)
        commands[name] = command
        for gate in chapter.gates:
            note("  {}: {} ({}) {}".format(*gate.row))
    took = time.perf_counter() - began
    page = tour.tour_page(chapters, _notes(took, commands))
    write_atomically(path / "index.html", page.encode())
    gates = [gate for chapter in chapters for gate in chapter.gates]
    missed = [gate for gate in gates if not gate.met]
    if options.json:
        figures = [
            {"what": g.what, "figure": g.figure, "to_beat": g.baseline, "met": g.met} for g in gates
        ]
        report = {"seconds": round(took, 1), "report": str(path / "index.html")}
        print(json.dumps({**report, "commands": commands, "gates": figures}))
    else:
        _print_result(chapters, gates, path, took)
    if missed:
        note(f"{len(missed)} of {len(gates)} gates missed: give a larger --budget")
    return _GATE_MISSED if missed else 0


def _chapter(
    name: str, seconds: float, path: Path, options: argparse.Namespace
) -> tuple[tour.Chapter, str]:
    """Train one family for its share of the time, then measure and show it."""
    began = time.perf_counter()
    preset, _, chapter = PLAN[name]
    chosen = family(name)
    config: Any = chosen.presets[preset].updated(
        {"training": {"seed": options.seed}}, where="command line"
    )
    left = max(1.0, _SHARE_OF_TRAINING * seconds - (time.perf_counter() - began))
    most = config.training.steps  # more would overfit: a fast machine is done sooner
    config = within_budget(chosen, config, left)
    config = replace(
        config, training=replace(config.training, steps=min(config.training.steps, most))
    )
    run, recipe = new_run(chosen, preset, config, path)
    train_run(run, recipe, chosen, config, debug=options.debug)
    with blas_threads(config.training.threads):
        return chapter(run, recipe), run.command


def _notes(took: float, commands: dict[str, str]) -> list[tuple[str, str]]:
    record = environment()
    notes = [(key, str(record[key])) for key in ("tinygen", "python", "numpy", "cpu", "platform")]
    return [*notes, ("seconds", f"{took:.0f}"), *commands.items()]


def _print_result(
    chapters: list[tour.Chapter], gates: list[tour.Gate], path: Path, took: float
) -> None:
    for chapter in chapters:
        if chapter.text:
            sys.stdout.write(f"\n{chapter.text}\n\n")
    width = max(len(gate.what) for gate in gates)
    for gate in gates:
        what, figure, baseline, verdict = gate.row
        print(f"{what:{width}}  {figure:>8}  {verdict:6}  (to beat: {baseline})")
    print(f"\n{took:.0f} seconds; the report: {path / 'index.html'}")
