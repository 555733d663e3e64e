"""Candidates by turns on one device: medians with their spread, on inputs that no cache holds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

Candidate = Callable[[int], Any]
"""Does the work once, on input set number i."""

SETS = 4
"""Input sets that runs go round; with those of the other candidates they pass a cache of 50 MB."""


def compare(backend: Any, candidates: dict[str, Candidate], repeats: int) -> dict[str, Any]:
    """Microseconds of each candidate: median and quartiles over `repeats` rounds by turns, in
    alternating order, after three warm-up rounds."""
    names = list(candidates)
    for i in range(3):
        for name in names:
            candidates[name](i % SETS)
    times: dict[str, list[float]] = {name: [] for name in names}
    for i in range(repeats):
        for name in names if i % 2 == 0 else reversed(names):
            run = candidates[name]
            times[name].append(seconds(backend, lambda run=run, i=i: run(i % SETS)))
    return {name: spread(values) for name, values in times.items()}


def seconds(backend: Any, run: Callable[[], Any]) -> float:
    """By the device's own clock where it has one."""
    if hasattr(type(backend), "seconds"):
        return float(backend.seconds(run))
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def spread(values: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(values, n=4)
    return {"us": 1e6 * median, "low": 1e6 * low, "high": 1e6 * high}


def torch_on(device: str) -> Any:
    """PyTorch, if it is installed and sees the GPU; else None, and its columns are left out."""
    if not device.startswith("cuda"):
        return None
    try:
        import torch
    except ImportError:
        return None
    return torch if torch.cuda.is_available() else None
