"""`python -m tinygen.testing`: prove the ops, and print the matrix."""

from __future__ import annotations

import argparse
import sys

from tinygen.testing.catalogue import load
from tinygen.testing.report import matrix

FINDINGS = 6


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0, or 6 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tinygen.testing", description=__doc__)
    parser.add_argument("op", nargs="*", help="ops by name; all of them if left out")
    parser.add_argument("--examples", type=int, default=12, help="calls for each cell")
    parser.add_argument("--mutants", choices=("none", "sampled", "all"), default="sampled")
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.op) - load().keys()
    if unknown:
        parser.error(f"the catalogue has no op {', '.join(sorted(unknown))}")
    if chosen.examples < 1:
        parser.error("--examples is 1 or more")
    report = matrix(chosen.op, examples=chosen.examples, mutants=chosen.mutants)
    for line in report.lines():
        print(line)
    return FINDINGS if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
