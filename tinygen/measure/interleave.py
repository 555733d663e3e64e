"""Contenders by turns, in one run: what a noisy machine allows to be compared.

Each contender is a process (`worker.py`). After its first results were compared with ours, every
round lets each of them do one block of calls, in an order drawn anew, so that whatever disturbs the
machine meets all of them alike. Our contender runs twice: the two differ by nothing, and what they
seem to differ by (A/A) is what this run cannot tell.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tinygen.errors import InputError
from tinygen.measure.suite import Benchmark

TWIN = "A/A"
_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


def interleave(
    suite: Path,
    benchmark: Benchmark,
    *,
    rounds: int,
    seconds: float,
    threads: int = 1,
    seed: int = 0,
    note: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Samples of every contender: seconds a call, one a round, with the clock that was read.

    One thread is timed by its CPU time, which other programs disturb least; more by the wall.
    A contender whose package is missing is `absent`, one that computes something else `wrong`;
    neither is timed. Raises InputError where a contender's process dies.
    """
    titles = {title: title for title in benchmark.contenders} | {TWIN: benchmark.ours}
    clock = "cpu" if threads == 1 else "wall"
    order = random.Random(seed)
    result: dict[str, Any] = {"name": benchmark.name, "ours": benchmark.ours, "clock": clock}
    result |= {"absent": {}, "wrong": {}, "samples": {}, "counts": {}}
    with _workers(suite, benchmark, titles, threads) as workers:
        running = _agreeing(benchmark, workers, result)
        calls = {title: _calls(running[title], seconds) for title in running}
        for number in range(rounds):
            note(f"{benchmark.name}: round {number + 1}/{rounds}")
            for title in order.sample(sorted(running), len(running)):
                block = running[title].ask(calls[title])
                result["samples"].setdefault(title, []).append(block[clock])
        result["counts"] = {t: w.ask("counts") for t, w in running.items() if t != TWIN}
    return result


class _Worker:
    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, env=environment
        )
        self.name = " ".join(command[-2:])

    def ask(self, request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        return self.answer()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise self._died()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _died(self) -> InputError:
        code = self.process.wait()
        return InputError(
            f"the contender {self.name} ended with exit code {code}; what it printed is above"
        )


@contextmanager
def _workers(
    suite: Path, benchmark: Benchmark, titles: dict[str, str], threads: int
) -> Iterator[dict[str, _Worker]]:
    environment = {**os.environ, **dict.fromkeys(_THREADS, str(threads))}
    command = [sys.executable, "-m", "tinygen.measure.worker", str(suite), benchmark.name]
    workers: dict[str, _Worker] = {}
    try:
        for title, contender in titles.items():
            workers[title] = _Worker([*command, contender], environment)
        yield workers
    finally:
        for worker in workers.values():
            worker.process.kill()
            worker.process.communicate()


def _agreeing(
    benchmark: Benchmark, workers: dict[str, _Worker], result: dict[str, Any]
) -> dict[str, _Worker]:
    """Those whose first results are ours; the others are named in `result`."""
    answers = {title: worker.answer() for title, worker in workers.items()}
    ours = answers[benchmark.ours].get("first")
    if ours is None:
        raise InputError(f"{benchmark.ours} cannot run: {answers[benchmark.ours]['absent']}")
    running = {}
    for title, answer in answers.items():
        if "absent" in answer:
            result["absent"][title] = answer["absent"]
        elif (difference := _difference(ours, answer["first"])) <= benchmark.tolerance:
            running[title] = workers[title]
        else:
            result["wrong"][title] = difference
    return running


def _difference(ours: list[list[float]], theirs: list[list[float]]) -> float:
    """The largest difference of first results, relative to the largest entry; infinite where they
    have other sizes, and where one is not a number."""
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        if len(a) != len(b):
            return float("inf")
        largest = max(map(abs, a)) or 1.0
        for x, y in zip(a, b, strict=True):
            off = abs(x - y) / largest
            worst = off if off > worst else worst
            if off != off:
                return float("inf")
    return worst


def _calls(worker: _Worker, seconds: float) -> int:
    """Calls of a block of about `seconds`; finding out warms the contender up."""
    calls = 1
    while True:
        took = worker.ask(calls)["wall"] * calls
        if took >= seconds / 2 or calls >= 1 << 24:
            return max(1, round(calls * seconds / took))
        calls = min(8 * calls, max(calls + 1, round(calls * seconds / max(took, 1e-6))))
