"""Check what tinygen needs on this machine, and say what to do about what is missing."""

import argparse
import json
import os
from collections.abc import Iterator
from importlib import metadata, util

import numpy as np

from tinygen.cli.parser import Parser
from tinygen.training.environment import environment

_NEEDED = {
    "safetensors": "checkpoints",
    "rich": "live progress lines",
    "PIL": "pictures",
    "threadpoolctl": "settings of BLAS threads",
}
_DISTRIBUTION = {"PIL": "Pillow"}
_OLDEST_NUMPY = (2, 1)
_FINDINGS = 6


def add_options(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="the result as JSON")


def run(options: argparse.Namespace) -> int:
    record = environment() | {"packages": dict(_packages())}
    findings = list(_findings())
    if options.json:
        print(json.dumps({**record, "findings": findings}))
    else:
        for name, value in record.items():
            print(f"{name:12}{_readable(value)}")
        for finding in findings:
            print(f"finding: {finding}")
        print("all is well" if not findings else f"{len(findings)} findings")
    return _FINDINGS if findings else 0


def _packages() -> Iterator[tuple[str, str | None]]:
    for module in _NEEDED:
        name = _DISTRIBUTION.get(module, module)
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            yield name, None


def _findings() -> Iterator[str]:
    if tuple(map(int, np.__version__.split(".")[:2])) < _OLDEST_NUMPY:
        yield f"NumPy {np.__version__} is too old: pip install 'numpy>=2.1'"
    for module, purpose in _NEEDED.items():
        if util.find_spec(module) is None:
            name = _DISTRIBUTION.get(module, module)
            yield f"{name} is missing, which {purpose} need: pip install {name}"
    if not os.access(".", os.W_OK):
        yield "the current folder cannot be written, and runs/ goes there: give --out another"


def _readable(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {entry}" for name, entry in value.items()) or "none set"
    return str(value)
