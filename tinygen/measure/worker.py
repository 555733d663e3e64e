"""One contender in a process of its own: it builds, shows its first results, then works on demand.

    python -m tinygen.measure.worker SUITE BENCHMARK CONTENDER

Each line on standard input is a request in JSON, each answered by one line of JSON: a number of
calls to do and time, or "counts". What the contender prints itself goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

import tinygen as tg
from tinygen.measure.suite import Work, load_suite

FIRST = 3
"""Results that are compared: of the first calls, so that a training step's progress is seen."""
KEPT = 64
"""Numbers kept of each result, evenly spaced, beside its sum and its size."""


def main(suite: str, name: str, contender: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # print() must not be taken for an answer
    before = _resident("VmRSS")
    tg.tune_allocator()
    benchmark = next(b for b in load_suite(Path(suite)) if b.name == name)
    try:
        work = benchmark.build(contender, Path(suite))
        first = [numbers(work()) for _ in range(FIRST)]
    except ImportError as error:
        _answer(answers, {"absent": str(error)})
        return
    _answer(answers, {"first": first})
    for line in sys.stdin:
        request = json.loads(line)
        if request == "counts":
            grown = _resident("VmHWM") - before  # before the recorder, which keeps what it sees
            _answer(answers, {**counts(work), "peak_resident": grown})
        else:
            _answer(answers, timed(work, int(request)))


def timed(work: Work, calls: int) -> dict[str, float]:
    """Seconds a call, by the process's own clock and by the wall's."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        work()
    return {
        "cpu": (time.process_time() - cpu) / calls,
        "wall": (time.perf_counter() - wall) / calls,
    }


def counts(work: Work) -> dict[str, int]:
    """What one call does, exactly: the same on every machine, so that it can gate. Zero where the
    work is not tinygen's, whose engine alone is asked."""
    with tg.trace.record() as recorder:
        work()
    return {
        "ops": len(recorder.events),
        "flops": recorder.flops,
        "bytes": sum(event.bytes for event in recorder.events),
        "peak_bytes": recorder.peak_bytes(),
        "launches": sum(len(event.kernels) for event in recorder.events),
    }


def numbers(result: Any) -> list[float]:
    """A result of any library as a short list: size, sum and evenly spaced entries."""
    if isinstance(result, (tuple, list)):
        return [number for part in result for number in numbers(part)]
    if hasattr(result, "detach"):
        result = result.detach()
    array = np.asarray(result.numpy() if hasattr(result, "numpy") else result, np.float64).ravel()
    chosen = array[np.linspace(0, array.size - 1, min(KEPT, array.size)).astype(int)]
    return [float(array.size), float(array.sum()), *map(float, chosen)]


def _resident(field: str) -> int:
    """Bytes of this process in memory, now (VmRSS) or at most (VmHWM); 0 where Linux is not."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), 0)


def _answer(answers: TextIO, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
