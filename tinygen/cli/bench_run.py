"""`tinygen bench run SUITE`: time a suite's contenders by turns and keep every sample."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from tinygen.cli.parser import Parser
from tinygen.cli.session import note
from tinygen.errors import UsageError
from tinygen.measure.interleave import interleave
from tinygen.measure.provenance import fingerprint, state
from tinygen.measure.report import page
from tinygen.measure.result import FORMAT, LEAST, save
from tinygen.measure.suite import load_suite


def add_options(parser: Parser) -> None:
    parser.add_argument("suite", type=Path, help="a Python file that has BENCHMARKS")
    parser.add_argument("--only", help="the benchmarks whose name has this in it")
    parser.add_argument("--rounds", type=int, default=21, help="samples a contender (21)")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a sample (0.5)")
    parser.add_argument("--threads", type=int, default=1, help="of BLAS and PyTorch (1)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of turns (0)")
    parser.add_argument("--out", type=Path, help="where to write the result, as JSON")


def run(options: argparse.Namespace) -> int:
    for name, least in (("rounds", LEAST), ("threads", 1), ("seed", 0)):
        if getattr(options, name) < least:
            raise UsageError(f"--{name} must be {least} or more, not {getattr(options, name)}")
    if not 0 < options.seconds < 3600:
        raise UsageError(f"--seconds must lie between 0 and 3600, not {options.seconds:g}")
    benchmarks = load_suite(options.suite)
    chosen = [b for b in benchmarks if options.only is None or options.only in b.name]
    if not chosen:
        names = ", ".join(benchmark.name for benchmark in benchmarks)
        raise UsageError(f"--only {options.only} is in none of these names: {names}")
    result: dict[str, Any] = {"format": FORMAT, "command": _command(options)}
    result |= {"seed": options.seed, "fingerprint": fingerprint(options.threads)}
    result["before"] = state()
    result["benchmarks"] = [
        interleave(
            options.suite,
            benchmark,
            rounds=options.rounds,
            seconds=options.seconds,
            threads=options.threads,
            seed=options.seed,
            note=note,
        )
        for benchmark in chosen
    ]
    result["after"] = state()
    if options.out is not None:
        save(result, options.out)
    print(page(result), end="")
    return 6 if any(benchmark["wrong"] for benchmark in result["benchmarks"]) else 0


def _command(options: argparse.Namespace) -> str:
    words = ["tinygen", "bench", "run", str(options.suite)]
    for name in ("only", "rounds", "seconds", "threads", "seed"):
        if getattr(options, name) is not None:
            words += [f"--{name}", str(getattr(options, name))]
    return shlex.join(words)
