"""One GPT training step: tinygen against PyTorch eager and HIPS autograd, time and memory.

    python benchmarks/gpt_step.py [--large] [--rounds 15] [--seconds 1.0] [--mkl] [--json FILE]

Time is the CPU time of one thread, median over interleaved blocks. Memory is the peak of bytes that
each library's arrays hold during a step, parameters and optimiser state included: NumPy's from
`tracemalloc`, PyTorch's from its profiler's allocation events.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

from interleaved import ONE_THREAD, compare, print_steps, resident_column

HERE = Path(__file__).parent
CANDIDATES = str(HERE / "gpt_step_candidates.py")


def numpy_peak(builder: str) -> int:
    """Peak bytes under `tracemalloc`, from before the model is built to the end of the third step.

    The first steps warm up; the peak is reset before the last.
    """
    import tracemalloc

    import gpt_step_candidates

    tracemalloc.start()
    step = getattr(gpt_step_candidates, builder)()
    for _ in range(3):
        step()
    arrays = tracemalloc.take_snapshot().filter_traces([_numpy_domain()])
    alive = sum(trace.size for trace in arrays.traces)
    total = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    step()
    return tracemalloc.get_traced_memory()[1] - total + alive


def _numpy_domain() -> Any:
    import tracemalloc

    import numpy as np

    return tracemalloc.DomainFilter(inclusive=True, domain=np.lib.tracemalloc_domain)


def torch_peak() -> int:
    """Peak bytes from the profiler: what was alive before the step, plus the rise within it."""
    import gc

    import gpt_step_candidates
    import torch
    from torch.profiler import ProfilerActivity, profile

    step = gpt_step_candidates.torch_step()
    for _ in range(3):
        step()
    gc.collect()
    storages = {
        t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()
        for t in gc.get_objects()
        if isinstance(t, torch.Tensor)
    }
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    alive = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    return sum(storages.values()) + peak


def in_fresh_process(expression: str) -> int:
    code = f"import sys; sys.path.insert(0, {str(HERE)!r}); import gpt_step; print({expression})"
    environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        env=environment,
    )
    return int(done.stdout.split()[-1])


def provenance() -> dict[str, str]:
    import autograd  # noqa: F401  # fails early if a rival is missing
    import numpy as np
    import torch

    commit = subprocess.run(
        ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "date": date.today().isoformat(),
        "commit": commit,
        "cpu": f"{model}, {os.cpu_count()} cores, 1 used",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "command": "python benchmarks/gpt_step.py",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--mkl", action="store_true", help="tinygen with TINYGEN_BLAS=mkl as well")
    parser.add_argument("--large", action="store_true", help="6 layers of width 384, block 256")
    options = parser.parse_args()
    if options.large:
        os.environ["GPT_STEP"] = "large"  # gpt_step_candidates.py reads it, in the workers

    record: dict[str, Any] = {"provenance": provenance()}
    builders = {"tinygen": "tinygen_step", "PyTorch": "torch_step", "HIPS autograd": "hips_step"}
    if options.mkl:
        builders["tinygen, MKL"] = "tinygen_mkl_step"
    candidates = {name: f"{CANDIDATES}:{builder}" for name, builder in builders.items()}
    times = compare(candidates, options.rounds, options.seconds)
    peaks = {
        "tinygen": in_fresh_process("gpt_step.numpy_peak('tinygen_step')"),
        "PyTorch": in_fresh_process("gpt_step.torch_peak()"),
        "HIPS autograd": in_fresh_process("gpt_step.numpy_peak('hips_step')"),
    }
    if options.mkl:
        peaks["tinygen, MKL"] = in_fresh_process("gpt_step.numpy_peak('tinygen_mkl_step')")
    columns = {"peak MB": {name: f"{peak / 1e6:.2f}" for name, peak in peaks.items()}}
    columns |= resident_column(times)
    print_steps(times, "PyTorch", tolerance=1e-4, columns=columns)
    record["milliseconds"], record["peak_bytes"] = times, peaks
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
