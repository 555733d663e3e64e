"""What a benchmark is: one piece of work, the contenders that do it, and how far they may differ.

A suite is a Python file with a list `BENCHMARKS`. This one is whole:

    import numpy as np
    from tinygen import ops
    from tinygen.measure import Benchmark

    x = np.random.default_rng(0).normal(size=(512, 512)).astype("float32")

    def by_numpy():
        return lambda: np.exp(x) / np.exp(x).sum(-1, keepdims=True)

    BENCHMARKS = [
        Benchmark("softmax", {"tinygen": lambda: lambda: ops.softmax(x), "NumPy": by_numpy}),
    ]

A contender is a builder: called once in a process of its own, it prepares and returns the function
that does the work once and returns what it computed, which is compared before anything is timed.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygen.errors import InputError

Work = Callable[[], Any]
Builder = Callable[[], Work]


@dataclass(frozen=True)
class Benchmark:
    """`contenders` by title, the first of them ours, the others its rivals; each a builder, or
    "file.py:builder" beside the suite's own file. Ratios are ours over theirs."""

    name: str
    contenders: Mapping[str, Builder | str]
    tolerance: float = 1e-4
    """How far first results may differ, relative to the largest entry of ours."""

    @property
    def ours(self) -> str:
        return next(iter(self.contenders))

    def build(self, title: str, beside: Path) -> Work:
        builder = self.contenders[title]
        if isinstance(builder, str):
            path, _, name = builder.partition(":")
            builder = getattr(module_of(beside.parent / path), name)
        assert callable(builder)
        return builder()


def load_suite(path: Path) -> list[Benchmark]:
    """The benchmarks of the file `path`. Raises InputError where it has none."""
    if not path.is_file():
        raise InputError(f"there is no suite {path}; name a Python file that has BENCHMARKS")
    benchmarks = getattr(module_of(path), "BENCHMARKS", None)
    if not isinstance(benchmarks, list) or not all(isinstance(b, Benchmark) for b in benchmarks):
        raise InputError(f"{path} is no suite: it needs a list BENCHMARKS of measure.Benchmark")
    names = [benchmark.name for benchmark in benchmarks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        fault = f"names {', '.join(twice)} twice" if twice else "has no benchmark"
        raise InputError(f"{path} {fault}; results are found by their name, so give each its own")
    return benchmarks


def module_of(path: Path) -> Any:
    """The Python file at `path` as a module, which may import its neighbours."""
    sys.path.insert(0, str(path.parent.resolve()))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise InputError(f"{path} is no Python file; correct the path")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"{path} does not run: {type(error).__name__}: {error}") from error
    return module
