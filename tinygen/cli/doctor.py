"""Check what tinygen needs on this machine, and say what to do about what is missing."""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata, util
from typing import Any

import numpy as np

from tinygen.backend import backend_named
from tinygen.backend.device.registry import LAUNCHERS
from tinygen.backend.device.rungs import RUNGS
from tinygen.backend.simulator import require_toolchain
from tinygen.cli.parser import Parser
from tinygen.data.fetch import data_folder
from tinygen.errors import UnavailableError
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
_LINE = 120  # characters of a record that is read on one
_LEAST_SPACE = 10**9  # bytes: some checkpoints of a small model


def add_options(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="the result as JSON")


def run(options: argparse.Namespace) -> int:
    record = environment() | {
        "packages": dict(_packages()),
        "devices": dict(_devices()),
        "rungs": {operation: " < ".join(rungs) for operation, rungs in RUNGS.items()},
    }
    findings = list(_findings())
    if options.json:
        print(json.dumps({**record, "findings": findings}))
    else:
        for name, value in record.items():
            print(f"{name:12}{_readable(value)}")
        for finding in findings:
            print(f"finding: {finding}")
        count = f"{len(findings)} finding{'s' if len(findings) > 1 else ''}"
        print(count if findings else "all is well")
    return _FINDINGS if findings else 0


def _packages() -> Iterator[tuple[str, str | None]]:
    for module in _NEEDED:
        name = _DISTRIBUTION.get(module, module)
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            yield name, None


def _devices() -> Iterator[tuple[str, str]]:
    """What each device is good for here, or why it is not. A machine without a GPU is well."""
    yield "cpu", "NumPy"
    for name in ("sim", "cuda:0"):
        try:
            device: Any = backend_named(name)
        except UnavailableError as error:
            yield name, str(error)
            continue
        if device.launches:
            yield name, f"kernels for {', '.join(sorted(LAUNCHERS))}; plain ops for the rest"
        else:
            yield name, f"plain ops alone: {_without_kernels()}"


def _without_kernels() -> str:
    try:
        require_toolchain()
    except UnavailableError as error:
        return str(error)
    return "this device launches none"


def _findings() -> Iterator[str]:
    if tuple(map(int, np.__version__.split(".")[:2])) < _OLDEST_NUMPY:
        yield f"NumPy {np.__version__} is too old: pip install 'numpy>=2.1'"
    for module, purpose in _NEEDED.items():
        if util.find_spec(module) is None:
            name = _DISTRIBUTION.get(module, module)
            yield f"{name} is missing, which {purpose} need: pip install {name}"
    if not os.access(".", os.W_OK):
        yield "the current folder cannot be written, and runs/ goes there: give --out another"
    elif shutil.disk_usage(".").free < _LEAST_SPACE:
        yield "less than 1 GB is free on the disk of the current folder, and runs/ goes there"
    try:
        data_folder()
    except UnavailableError as error:
        yield str(error)
    if "utf-8" not in (sys.stdout.encoding or "").lower():
        yield f"the output is {sys.stdout.encoding}, so samples lose characters: set LANG=C.UTF-8"


def _readable(value: object) -> str:
    if isinstance(value, dict) and sum(len(str(entry)) for entry in value.values()) > _LINE:
        return "".join(f"\n  {name}: {entry}" for name, entry in value.items())
    if isinstance(value, dict):
        return ", ".join(f"{name} {entry}" for name, entry in value.items()) or "none set"
    return str(value)
