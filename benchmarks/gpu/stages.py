"""The stages, and the process that runs one: python -m benchmarks.gpu.stages STAGE DEVICE FILE"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.gpu import delays, gpt2, matmul, memory, sdpa
from tinygen.backend import backend_named

Found = dict[str, Any]
Stage = Callable[[str, bool], Found]


OF_NO_DEVICE = ("compiled", "resources", "mutants", "lines_reached", "traffic", "conformance")
"""Tests of kernels that compile them, count on the simulator, or have a stage of their own."""


def kernel_tests() -> list[str]:
    """The files of tests that launch kernels on a device."""
    found = sorted(Path("tests/kernels").glob("test_*.py"))
    return [str(path) for path in found if path.stem.removeprefix("test_") not in OF_NO_DEVICE]


def conformance(device: str, quick: bool) -> Found:
    """one tiny kernel for each wrapped instruction, against what the simulator says"""
    return _pytest(device, "tests/kernels/test_conformance.py")


def tests(device: str, quick: bool) -> Found:
    """every op and every kernel on the device, against the CPU"""
    paths = ["tests/backend/test_sim_device.py"]
    if not quick:
        paths += [*kernel_tests(), "tests/backend/test_served_ops.py"]
    return _pytest(device, *paths)


def sanitizer(check: str) -> Stage:
    """One of compute-sanitizer's checks as a stage: together they would pass the limit."""

    def stage(device: str, quick: bool) -> Found:
        tool = shutil.which("compute-sanitizer")
        if tool is None or not device.startswith("cuda"):
            return {"passed": quick, "skipped": "compute-sanitizer is not installed"}
        command = [tool, "--tool", check, "--error-exitcode", "9", sys.executable, "-m", "pytest"]
        done = subprocess.run(
            [*command, "-q", "-n0", "-x", "-p", "benchmarks.gpu.unpooled", *kernel_tests()],
            env=_environment(device),
            capture_output=True,
            text=True,
        )
        return {"passed": done.returncode == 0, "code": done.returncode, "tail": done.stdout[-800:]}

    stage.__doc__ = f"compute-sanitizer's {check} over the kernels' tests"
    return stage


def _pytest(device: str, *paths: str) -> Found:
    workers = "8" if device.startswith("cuda") else "0"  # most of the time NVRTC is at work
    command = [sys.executable, "-m", "pytest", "-q", "-n", workers, *paths]
    done = subprocess.run(command, env=_environment(device), capture_output=True, text=True)
    print(done.stdout[-2000:])
    return {"passed": done.returncode == 0, "tail": done.stdout[-2000:]}


def _environment(device: str) -> dict[str, str]:
    return {**os.environ, "TINYGEN_TEST_DEVICE": device}


STAGES: dict[str, Stage] = {
    "conformance": conformance,
    "tests": tests,
    **{check: sanitizer(check) for check in ("memcheck", "racecheck", "synccheck", "initcheck")},
    "delays": delays.stage,
    "memory": memory.stage,
    "matmul": matmul.stage,
    "attention": sdpa.stage,
    "gpt2": gpt2.stage,
}


def provenance(device: str) -> dict[str, Any]:
    """Where and of what a figure was taken; no names, no paths."""
    backend: Any = backend_named(device)
    record = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": os.environ.get("TINYGEN_COMMIT") or _commit(),
        "device": backend.name,
        "python": platform.python_version(),
    }
    if device.startswith("cuda"):
        cupy = backend.cupy
        properties = cupy.cuda.runtime.getDeviceProperties(backend.device.id)
        record |= {
            "gpu": properties["name"].decode(),
            "cupy": cupy.__version__,
            "driver": cupy.cuda.runtime.driverGetVersion(),
            "runtime": cupy.cuda.runtime.runtimeGetVersion(),
        }
    return record


def _commit() -> str:
    """Of this checkout; a copy without its history names it in TINYGEN_COMMIT."""
    asked = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    return asked.stdout.strip()


def main() -> int:
    stage, device, file, *quick = sys.argv[1:]
    record = provenance(device)
    found = STAGES[stage](device, bool(quick))
    found = {"stage": stage, "passed": True, **found, "provenance": record}
    Path(file).write_text(json.dumps(found, indent=1) + "\n")
    return 0 if found["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
