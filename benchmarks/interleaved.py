"""Compare programs fairly on a noisy machine: one worker process each, run in turn, block by block.

A candidate is "file.py:builder"; the builder returns a function that does one unit of work. Each
worker warms up, then runs a block of about `seconds` whenever it is told to, and reports the CPU
time of its own process per call. With one thread, CPU time is what the work costs, whatever else
the machine is doing; a block during which other processes were busy still counts, since the
candidates take turns and meet the same disturbances. Read ratios, not milliseconds.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


def compare(
    candidates: dict[str, str], rounds: int, seconds: float, threads: int = 1
) -> dict[str, dict[str, Any]]:
    """Milliseconds of CPU time a call, by block, for each candidate: median and quartiles."""
    environment = {**os.environ, **{name: str(threads) for name in ONE_THREAD}}
    workers = {}
    for name, target in candidates.items():
        workers[name] = subprocess.Popen(
            [sys.executable, __file__, target],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
    setup = {name: _ask(worker, None) for name, worker in workers.items()}
    blocks: dict[str, list[float]] = {name: [] for name in workers}
    for round_number in range(rounds):
        order = list(workers) if round_number % 2 == 0 else list(reversed(workers))
        for name in order:
            blocks[name].append(_ask(workers[name], seconds)["cpu_ms"])
        print(f"round {round_number + 1}/{rounds}", file=sys.stderr)
    for worker in workers.values():
        assert worker.stdin is not None
        worker.stdin.close()
        worker.wait()
    return {name: {**_spread(blocks[name]), **setup[name]} for name in workers}


def _ask(worker: subprocess.Popen[str], seconds: float | None) -> dict[str, Any]:
    assert worker.stdin is not None
    assert worker.stdout is not None
    if seconds is not None:
        worker.stdin.write(f"{seconds}\n")
        worker.stdin.flush()
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError(f"a worker died: {worker.args}")
    return json.loads(line)


def _spread(values: list[float]) -> dict[str, float]:
    # One block has no spread, and quantiles want two values.
    low, median, high = statistics.quantiles(values * 2 if len(values) == 1 else values, n=4)
    return {"median_ms": median, "low_ms": low, "high_ms": high, "blocks": len(values)}


def print_steps(
    times: dict[str, dict[str, Any]],
    against: str,
    tolerance: float,
    columns: dict[str, dict[str, str]] | None = None,
) -> None:
    """The table of a training step: times, their ratios to `against`, `columns` (title to name to
    text), and the first losses; SystemExit where those differ by `tolerance` from tinygen's."""
    columns = columns or {}
    head = "candidate           median ms (quartiles)           ratio"
    print(head, *(f"{title:>8}" for title in columns), " losses of the first steps")
    ours = times["tinygen"]["first_losses"]
    for name, t in times.items():
        losses = t["first_losses"]
        if not max(abs(a - b) for a, b in zip(ours, losses, strict=True)) < tolerance:
            raise SystemExit(f"{name} computes something else: losses {losses}, ours {ours}")
        print(
            f"{name:18}  {t['median_ms']:7.2f} ({t['low_ms']:.2f} - {t['high_ms']:.2f})".ljust(51),
            f"{t['median_ms'] / times[against]['median_ms']:5.2f}",
            *(f"{texts[name]:>8}" for texts in columns.values()),
            "",
            " ".join(f"{loss:.5f}" for loss in losses),
        )


def resident_column(times: dict[str, dict[str, Any]]) -> dict[str, dict[str, str]]:
    """A column for `print_steps`: by how many MB the model, its optimiser and the first five steps
    raised a worker's peak of resident memory above what its library's import had left."""
    return {"res. MB": {name: f"{t['resident_bytes'] / 1e6:.1f}" for name, t in times.items()}}


def _peak_resident() -> int:
    """The most bytes that this process has had in memory; 0 where the system does not say."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def _import_library(target: str) -> None:
    """What the builder imports, before its memory is counted; PyTorch's optimisers load _dynamo."""
    names = {"torch": ["torch", "torch._dynamo"], "hips": ["autograd.numpy"]}
    ours = ["tinygen.models", "tinygen.optim"]
    for name in names.get(target.partition(":")[2].split("_")[0], ours):
        importlib.import_module(name)


def _load(target: str) -> Callable[[], Any]:
    path, _, builder = target.partition(":")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, builder)()


def _work(target: str) -> None:
    """A worker: build, warm up, then one block for every line on standard input."""
    _import_library(target)
    before = _peak_resident()
    step = _load(target)
    losses = [float(step()) for _ in range(5)]
    resident = _peak_resident() - before
    print(json.dumps({"first_losses": losses, "resident_bytes": resident}), flush=True)
    for line in sys.stdin:
        calls = 0
        wall, cpu = time.perf_counter(), time.process_time()
        while time.perf_counter() - wall < float(line) or calls < 3:
            step()
            calls += 1
        print(json.dumps({"cpu_ms": (time.process_time() - cpu) / calls * 1e3}), flush=True)


if __name__ == "__main__":
    _work(sys.argv[1])
