"""`tinygen bench report|compare|validate FILE...`: read what `bench run` wrote."""

import argparse
from pathlib import Path
from typing import Any

from tinygen.cli.parser import Parser
from tinygen.errors import UsageError
from tinygen.measure.report import page
from tinygen.measure.result import load, rows

# Memory in use differs by what the system does; these are the same in every run.
EXACT = ("ops", "flops", "bytes", "launches")


def add_options(parser: Parser) -> None:
    parser.add_argument("files", type=Path, nargs="+", help="results; for compare, old and new")


def run(options: argparse.Namespace) -> int:
    if options.what == "compare":
        if len(options.files) != 2:
            raise UsageError(f"compare takes an old and a new result, not {len(options.files)}")
        return _compare(*map(load, options.files))
    for path in options.files:
        result = load(path)
        if options.what == "report":
            print(page(result), end="")
        else:
            print(f"{path}: sound, {len(result['benchmarks'])} benchmarks")
    return 0


def _compare(old: dict[str, Any], new: dict[str, Any]) -> int:
    """Ratios to the rivals, then and now, and exact counts; 6 where a count of ours rose. Times of
    two runs are never compared themselves: the machine was another one."""
    before = {benchmark["name"]: benchmark for benchmark in old["benchmarks"]}
    rose = False
    for benchmark in new["benchmarks"]:
        name = benchmark["name"]
        if name not in before:
            print(f"{name}: new")
            continue
        then = {title: (ratio, word) for title, ratio, word in rows(before[name])}
        for title, ratio, word in rows(benchmark):
            if title in then:
                was, said = then[title]
                print(f"{name}, to {title}: {was.median:.3f} {said} -> {ratio.median:.3f} {word}")
        counts = (b["counts"].get(b["ours"], {}) for b in (before[name], benchmark))
        first, second = counts
        for count in EXACT:
            a, b = first.get(count, 0), second.get(count, 0)
            if a != b:
                rose = rose or b > a
                print(f"{name}: {count} {a:,} -> {b:,}")
    return 6 if rose else 0
