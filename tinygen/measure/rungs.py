"""What a rung costs: counted on the simulator, timed on a GPU."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tinygen.backend.launch import Kernel, observed
from tinygen.backend.simulator import Use
from tinygen.measure.ladder import Rung

SECTOR = 32
"""Bytes that global memory moves at least."""


@dataclass
class Cost:
    """Of all launches of a rung, by the simulator's counters."""

    kernels: list[str] = field(default_factory=list)
    read: Use = field(default_factory=Use)
    written: Use = field(default_factory=Use)
    shared: Use = field(default_factory=Use)
    barriers: int = 0

    @property
    def bytes_moved(self) -> int:
        """Between global memory and the caches, in whole sectors."""
        return SECTOR * (self.read.transactions + self.written.transactions)

    @property
    def accesses(self) -> int:
        """Loads and stores of global memory by whole warps."""
        return self.read.requests + self.written.requests

    @property
    def uncoalesced(self) -> float:
        """Sectors moved for each that the requests needed: 1 is best, 8 a float in each."""
        needed = self.read.ideal + self.written.ideal
        return (self.read.transactions + self.written.transactions) / needed if needed else 1.0

    @property
    def bank_conflicts(self) -> float:
        """Passes over the banks of shared memory for each that was needed: 1 is best, 32 worst."""
        return self.shared.excess


def cost_of(rung: Rung, backend: Any) -> Cost:
    """Run `rung` once on the simulated device, with every check on, and add its launches up."""
    cost = Cost()

    def add(backend: Any, kernel: Kernel) -> None:
        counters = backend.module(kernel).counters
        cost.kernels.append(kernel.name)
        cost.read += counters.total("global", "read")
        cost.written += counters.total("global", "write")
        cost.shared += counters.total("shared")
        cost.barriers += counters.barriers.get("__syncthreads", 0)

    with _checking(), observed(add):
        rung.run()
    return cost


@contextmanager
def _checking() -> Iterator[None]:
    before = os.environ.get("TINYGEN_SIM_CHECK")
    os.environ["TINYGEN_SIM_CHECK"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TINYGEN_SIM_CHECK"]
        else:
            os.environ["TINYGEN_SIM_CHECK"] = before


def seconds_of(rung: Rung, backend: Any, *, repeats: int = 20) -> tuple[float, float, float]:
    """(median, lower and upper quartile) of the seconds of one run on a GPU, after a warm-up."""
    for _ in range(3):
        rung.run()
    times = [backend.seconds(rung.run) for _ in range(repeats)]
    low, median, high = statistics.quantiles(times, n=4)
    return median, low, high
