"""The tests of the kernels, tested: each mistake planted in a kernel must make one of them fail.

    python tests/kernels/mutants.py --every 20             a twentieth of them, of all files
    python tests/kernels/mutants.py --file softmax.cu      all of one file
    python tests/kernels/mutants.py --operator "wait dropped"

A mutant (mutation.py) is tried against the default tests of its file, on the simulator with all
checks, until the first that fails. It is

    killed       by a finding of the simulator (named), by wrong numbers, by a crash, or by a hang,
                 which is ten times the processor time that all of its tests need and a bit
    no program   if it cannot be compiled
    equivalent   if no test can tell it from the kernel: equivalent_mutants.toml says why
    survived     if neither: a hole in the tests

Results are appended to `--results`, a line each; a run that is started again goes on where the last
one ended, and tries survivors again. The exit code is 6 if any survived.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import on_simulator
import pytest
from _pytest.runner import runtestprotocol
from mutation import OPERATORS, Mutant, mutants_of

from tinygen.backend import launch, sim
from tinygen.backend.simulator import Module
from tinygen.backend.simulator.build import cache_folder
from tinygen.errors import KernelError, UsageError

FOLDER = Path(__file__).parent
KERNELS = FOLDER.parents[1] / "kernels"
EQUIVALENT = FOLDER / "equivalent_mutants.toml"
FINDINGS = 6
OUT_OF_TIME = {signal.SIGXCPU, signal.SIGKILL}

NUMBERS = {AssertionError: "wrong numbers", UsageError: "refused launch"}

GPU_ONLY = {"delay.cuh"}
FILES = sorted({path.name for path in KERNELS.glob("*.cu*")} - GPU_ONLY)
TESTED_BY = {
    "column_sums.cu": ["test_cast"],
    "common.cuh": ["test_cast", "test_conformance"],
    "conformance_hopper.cu": ["test_conformance"],
    "conformance_mma.cu": ["test_conformance"],
    "dropout.cu": ["test_random"],
    "gelu.cuh": ["test_activation"],
    "hopper.cuh": ["test_conformance"],
    "matmul_wgmma.cu": ["test_matmul", "test_traffic"],
    "online.cuh": ["test_softmax", "test_cross_entropy"],
    "ordered.cuh": ["test_topk", "test_sampling"],
    "philox.cuh": ["test_random"],
    "reduce.cuh": ["test_softmax", "test_norm", "test_group_norm"],
    "row.cuh": ["test_softmax", "test_norm"],
    "tensor_core.cuh": ["test_conformance"],
    "vector.cuh": ["test_softmax", "test_activation", "test_adamw"],
}
"""Other files have tests that begin with the same word."""


def modules_for(file: str) -> list[str]:
    word = re.split(r"[_.]", file)[0]
    return TESTED_BY.get(file, [path.stem for path in sorted(FOLDER.glob(f"test_{word}*.py"))])


def equivalent() -> dict[tuple[str, str, str, str], str]:
    """Why, by the place of a mutant."""
    entries = tomllib.loads(EQUIVALENT.read_text())["equivalent"]
    return {
        (entry["file"], entry["function"], entry["before"], after): entry["reason"]
        for entry in entries
        for after in entry["after"]
    }


# ---- one trial -----------------------------------------------------------------------------------


def in_a_process(work: Callable[[], Any], seconds: int) -> Any:
    """What `work` returns in a fork of this process: a mutant must not hurt the next one. A string
    instead if that used more than `seconds` of processor time ("hang"), or died ("crash")."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.write(write, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    if told:
        return json.loads(told)
    return "hang" if os.WIFSIGNALED(status) and os.WTERMSIG(status) in OUT_OF_TIME else "crash"


class Slot:
    """A copy of the kernels, what was compiled of it, and the tests that run on it."""

    def __init__(self, folder: Path, tests: Sequence[pytest.Function]) -> None:
        self.tests = {test.nodeid: test for test in tests}
        self.kernels, self.cache = folder / "kernels", folder / "compiled"
        shutil.copytree(KERNELS, self.kernels)
        self.cache.mkdir()
        for pattern in ("runtime-*", "language-*"):  # which are the same for all kernels
            for path in cache_folder().glob(pattern):
                (self.cache / path.name).symlink_to(path)
        os.environ["TINYGEN_SIM_CACHE"] = str(self.cache)
        self.seconds: dict[str, float] = {}
        self.reached: dict[str, set[tuple[str, int]]] = {}

    def run(self, names: Sequence[str]) -> dict[str, Any]:
        """In a process of its own: the first of these tests that fails, and how; or, of them all,
        the lines that they reach."""
        for module in (on_simulator, launch, sim):
            module.kernels_folder = lambda: self.kernels  # type: ignore[attr-defined]
        watch = Watch()
        for name in names:
            test = self.tests[name]
            test.config.pluginmanager.register(watch)
            reports = runtestprotocol(test, log=False, nextitem=None)
            test.config.pluginmanager.unregister(watch)
            if any(report.failed for report in reports):
                error = watch.error
                findings = getattr(error, "findings", None)
                if isinstance(error, KernelError) and not findings:
                    return {"fate": "no program", "how": "", "test": name}
                how = findings[0].kind if findings else NUMBERS.get(type(error), "other error")
                return {"fate": "killed", "how": how, "test": name}
        lines = {
            (Path(file).name, line)
            for file, known in Module.lines_reached().items()
            for line, reached in known.items()
            if reached and Path(file).parent == self.kernels
        }
        return {"fate": "survived", "how": "", "test": "", "lines": sorted(lines)}

    def learn(self) -> None:
        """What each test reaches and how long it takes, on the kernels as they are."""
        for name in self.tests:
            began = os.times()
            found = in_a_process(lambda name=name: self.run([name]), 600)
            ended = os.times()
            if isinstance(found, str) or found["fate"] != "survived":
                raise SystemExit(f"{name} fails on the kernels as they are: {found}")
            self.seconds[name] = ended.children_user - began.children_user
            self.reached[name] = {tuple(line) for line in found["lines"]}
        self.known = set(self.cache.iterdir())

    def tests_for(self, mutant: Mutant) -> list[str]:
        """All, in the order of hope: first those that come by its line, then those that run its
        function, as far as the compiler says, who knows no more of a function that it has put into
        another; the quick ones first."""
        line, body = {(mutant.file, mutant.line)}, {(mutant.file, line) for line in mutant.body}

        def order(name: str) -> tuple[bool, bool, float]:
            reached = self.reached[name]
            return not reached & line, not reached & body, self.seconds[name]

        return sorted(self.tests, key=order)

    def judge(self, mutant: Mutant) -> dict[str, Any]:
        names = self.tests_for(mutant)
        path = self.kernels / mutant.file
        kept = path.read_text()
        path.write_text(mutant.text)
        began = time.monotonic()
        try:
            limit = 10 + 10 * int(sum(self.seconds[name] for name in names))
            found = in_a_process(lambda: self.run(names), limit)
        finally:
            path.write_text(kept)
            for left in set(self.cache.iterdir()) - self.known:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        if isinstance(found, str):
            found = {"fate": "killed", "how": found, "test": ""}
        found.pop("lines", None)
        return {**found, "seconds": round(time.monotonic() - began, 2)}


class Watch:
    """Keeps the last exception of a test."""

    error: BaseException | None = None

    def pytest_exception_interact(self, call: pytest.CallInfo[Any]) -> None:
        self.error = call.excinfo.value if call.excinfo else None


# ---- all of them ---------------------------------------------------------------------------------


class Run:
    """A pytest plugin: once the tests are collected, mutants are judged instead of the tests run,
    in `jobs` processes."""

    def __init__(self, mutants: Sequence[Mutant], jobs: int, results: Path) -> None:
        self.mutants, self.jobs, self.results = mutants, jobs, results

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        children = []
        for job in range(min(self.jobs, len(self.mutants))):
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    self.work(session.items, job)
                    status = 0
                except BaseException as error:
                    print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                finally:
                    os._exit(status)
            children.append(child)
        failed = [child for child in children if os.waitpid(child, 0)[1]]
        if failed:
            raise pytest.UsageError("a process that judged mutants has failed; see above")
        return True

    def work(self, tests: Sequence[Any], job: int) -> None:
        with tempfile.TemporaryDirectory(prefix="tinygen-mutants-") as folder:
            slot = Slot(Path(folder), tests)
            slot.learn()
            for i in range(job, len(self.mutants), self.jobs):
                mutant = self.mutants[i]
                verdict = slot.judge(mutant)
                names = ("file", "function", "before", "after"), mutant.place
                row = dict(zip(*names, strict=True), operator=mutant.operator, key=key_of(mutant))
                with open(self.results, "a") as file:
                    file.write(json.dumps({**row, **verdict}) + "\n")
                what = f"{verdict['fate']} {verdict['how']}".strip()
                print(
                    f"{i + 1}/{len(self.mutants)} {what}, {verdict['seconds']} s: {mutant}",
                    flush=True,
                )


def key_of(mutant: Mutant) -> str:
    return hashlib.sha256(f"{mutant.file}\0{mutant.text}".encode()).hexdigest()[:20]


def recorded(results: Path) -> dict[str, dict[str, Any]]:
    """The last result of each mutant; equivalent ones by today's table."""
    if not results.exists():
        return {}
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    reasons = equivalent()
    for row in rows:
        place = row["file"], row["function"], row["before"], row["after"]
        if place in reasons and row["fate"] == "survived":
            row["fate"] = "equivalent"
    return {row["key"]: row for row in rows}


def chosen(files: Sequence[str], operators: Sequence[str], every: int, seed: int) -> list[Mutant]:
    """Each `every`-th, in an order drawn by `seed`."""
    everything = [m for file in files for m in mutants_of(file, (KERNELS / file).read_text())]
    some = [m for m in everything if not operators or m.operator in operators]
    random.Random(seed).shuffle(some)
    return some[::every]


def summary(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A line a file, the kinds of death, and the survivors."""
    yield f"{'':24}mutants  killed  equivalent  survived  no program"
    for file in [*sorted({row["file"] for row in rows}), "all"]:
        mine = [row for row in rows if file in ("all", row["file"])]
        n = Counter(row["fate"] for row in mine)
        counts = len(mine), n["killed"], n["equivalent"], n["survived"], n["no program"]
        yield f"{file:24}{counts[0]:7}{counts[1]:8}{counts[2]:12}{counts[3]:10}{counts[4]:12}"
    how = Counter(row["how"] for row in rows if row["fate"] == "killed")
    yield "killed by " + ", ".join(f"{kind} {count}" for kind, count in how.most_common())
    for row in rows:
        place = row["file"], row["function"], row["before"], row["after"]
        if row["fate"] == "survived":
            yield f"survived: {row['file']} {row['function']}: {row['before']}  ->  {row['after']}"
        if row["fate"] == "killed" and place in equivalent():
            yield f"killed, though the table calls it equivalent: {place}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--file", action="append", choices=FILES, help="all of them if left out")
    parser.add_argument("--operator", action="append", choices=OPERATORS, help="likewise")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="each N-th")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the order in which they are counted"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--results", type=Path, default=Path("kernel-mutants.jsonl"))
    asked = parser.parse_args(arguments)
    mutants = chosen(asked.file or FILES, asked.operator or [], asked.every, asked.seed)
    done = recorded(asked.results)
    missing = [m for m in mutants if done.get(key_of(m), {}).get("fate", "survived") == "survived"]
    if missing:
        os.environ["HYPOTHESIS_PROFILE"] = "mutants"
        modules = sorted({test for mutant in missing for test in modules_for(mutant.file)})
        paths = [str(FOLDER / f"{module}.py") for module in modules]
        plugin = Run(missing, asked.jobs, asked.results)
        status = pytest.main(["-n0", "-s", "-p", "no:cacheprovider", *paths], plugins=[plugin])
        if status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            return int(status)
    done = recorded(asked.results)
    rows = [done[key_of(mutant)] for mutant in mutants]
    print("\n".join(summary(rows)))
    return FINDINGS if any(row["fate"] == "survived" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
