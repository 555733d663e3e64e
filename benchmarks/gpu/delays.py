"""Threads at another pace give the same bits: python -m benchmarks.gpu.delays DEVICE

A process of its own for each seed, since a seed is compiled into the kernels (kernels/delay.cuh).
It prints the digests of the results of every rung of every ladder.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from typing import Any

from tinygen.backend import backend_named
from tinygen.measure import LADDERS, ladder


def stage(device: str, quick: bool) -> dict[str, Any]:
    """every rung under random delays, bit for bit what it gives without them"""
    without = _digests(device, None)
    seeds = range(1, 2 if quick else 9)
    differing = {
        str(seed): [name for name, bits in _digests(device, seed).items() if bits != without[name]]
        for seed in seeds
    }
    print(f"{len(without)} rungs under {len(seeds)} seeds; other bits: {differing}")
    return {
        "passed": bool(without) and not any(differing.values()),
        "rungs": list(without),
        "differing": differing,
    }


def _digests(device: str, seed: int | None) -> dict[str, str]:
    environment = {**os.environ, "TINYGEN_DELAYS": "" if seed is None else str(seed)}
    command = [sys.executable, "-m", "benchmarks.gpu.delays", device]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def digests(device: str) -> dict[str, str]:
    """SHA-256 of what each rung returns."""
    backend: Any = backend_named(device)
    found = {}
    for operation in LADDERS:
        for rung in ladder(operation, backend):
            results = rung.run()
            held = [
                backend.to_numpy(result)
                for result in (results if isinstance(results, tuple) else (results,))
                if result is not None
            ]
            if not held:
                raise ValueError(f"{operation}, {rung.name} returned nothing to compare")
            bits = hashlib.sha256()
            for array in held:
                bits.update(array.tobytes())
            found[f"{operation}, {rung.name}"] = bits.hexdigest()
    return found


if __name__ == "__main__":
    print(json.dumps(digests(sys.argv[1])))
