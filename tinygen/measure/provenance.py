"""Where a figure comes from: what must be equal to make it again, and what only was so.

The fingerprint holds what is stable (processor, versions, commit, threads) and its hash; the state
what changes by itself (date, load). Results of one fingerprint may be compared.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from tinygen.training.environment import environment

PACKAGES = ("torch", "jax", "jaxlib", "autograd", "tinygrad", "cupy-cuda13x", "mkl")


def fingerprint(threads: int) -> dict[str, Any]:
    """What is the same in every run of this code on this machine, with its SHA-256."""
    packages = {name: version for name in PACKAGES if (version := _version(name))}
    stable = environment() | {"threads": threads, "changes": _changes(), "packages": packages}
    text = json.dumps(stable, sort_keys=True)
    return stable | {"sha256": hashlib.sha256(text.encode()).hexdigest()}


def state() -> dict[str, Any]:
    """The moment: read once before a run and once after it."""
    return {"date": datetime.now(UTC).isoformat(timespec="seconds"), "load": os.getloadavg()}


def _changes() -> str | None:
    """A hash of what differs from the commit; None where nothing does, or outside a checkout."""
    command = ["git", "diff", "HEAD"]
    try:
        diff = subprocess.run(
            command, cwd=Path(__file__).parents[2], capture_output=True, check=True, timeout=20
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return hashlib.sha256(diff).hexdigest()[:12] if diff else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
