"""Where a run was computed: what a figure, or a claim of bit-identity, is only true together with.

Nothing here names the user, the machine or a path.
"""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from tinygen import __version__
from tinygen.backend.numpy_backend.blas import blas_in_use

_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
_PACKAGE = Path(__file__).resolve().parents[1]


def environment() -> dict[str, Any]:
    """Versions, processor and threads, as JSON values."""
    return {
        "tinygen": __version__,
        "git_commit": _git_commit(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": _blas(),
        "cpu": _cpu(),
        "cpus": _cpus(),
        "threads": {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ},
        "platform": f"{platform.system()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()).strip(),
    }


def changes(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two environments, as "numpy 2.3.1 -> 2.4.0"."""
    return [
        f"{name} {then.get(name)} -> {now.get(name)}"
        for name in now
        if name != "git_commit" and then.get(name) != now.get(name)
    ]


def _git_commit() -> str | None:
    """The commit of the checkout that runs, with "+" if it was changed since; None outside one."""
    if not (_PACKAGE.parent / ".git").exists():
        return None
    try:
        commit, status = (
            subprocess.run(
                ["git", *arguments],
                cwd=_PACKAGE.parent,
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            ).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", "tinygen"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if status else "")


def _blas() -> str:
    if blas_in_use() == "mkl":
        return f"mkl {metadata.version('mkl')}"
    build: Any = np.show_config(mode="dicts")
    blas = build.get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip()


def _cpu() -> str:
    """The processor's name, where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cpus() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
