"""Benchmarks that can be trusted: contenders by turns, verdicts with intervals, exact counts.

tinygen bench run benchmarks/suites/steps.py --only gpt --out gpt.json
tinygen bench report gpt.json                         (Markdown: ratios, spread, verdicts)
tinygen bench compare before.json after.json          (counts that rose end it with exit code 6)
tinygen bench validate gpt.json
tinygen bench kernels --op matmul                     (a CUDA kernel's ladder, on the simulator)
"""

import argparse
import importlib
from types import ModuleType

from tinygen.cli.parser import Parser

WHAT = {
    "run": "bench_run",
    "report": "bench_results",
    "compare": "bench_results",
    "validate": "bench_results",
    "kernels": "bench_kernels",
}


def add_options(parser: Parser) -> None:
    parser.add_argument("what", choices=tuple(WHAT), help="what to do")
    chosen = next((word for word in parser.arguments if word in WHAT), None)
    if chosen is not None:
        _module(chosen).add_options(parser)


def run(options: argparse.Namespace) -> int:
    code: int = _module(options.what).run(options)
    return code


def _module(what: str) -> ModuleType:
    return importlib.import_module(f"tinygen.cli.{WHAT[what]}")
