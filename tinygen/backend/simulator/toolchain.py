"""What the simulator needs of the machine: a C++ compiler and NVIDIA's headers of 16-bit types."""

from __future__ import annotations

import functools
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tinygen.errors import UnavailableError

HEADER = "cuda_bf16.h"
OLDEST_COMPILER = 11


class Toolchain(NamedTuple):
    compiler: str
    version: str
    headers: Path
    """The folder of cuda_bf16.h and cuda_fp16.h."""
    processor: tuple[str, ...]
    """Options that let the compiler use this processor's instructions."""
    linker: tuple[str, ...]
    """The option for the fastest linker that is here."""


@functools.cache
def require_toolchain() -> Toolchain:
    """The compiler and the headers; `UnavailableError` in one sentence if anything is missing."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise UnavailableError(
            "the CUDA simulator runs on x86-64 Linux only, because it switches stacks itself; "
            'use device="cpu".'
        )
    compiler = shutil.which(os.environ.get("CXX", "g++")) or ""
    version = _version(compiler)
    if version < OLDEST_COMPILER or not shutil.which("addr2line"):
        raise UnavailableError(
            f"the CUDA simulator compiles kernels with g++ {OLDEST_COMPILER} or newer and reads "
            "their lines with addr2line; install g++ and binutils, or name the compiler in CXX."
        )
    linker = ("-fuse-ld=gold",) if shutil.which("ld.gold") else ()
    return Toolchain(compiler, str(version), headers_folder(), _processor(), linker)


def headers_folder() -> Path:
    """The folder of NVIDIA's headers of 16-bit types. Raises UnavailableError."""
    headers = next((folder for folder in _folders() if (folder / HEADER).is_file()), None)
    if headers is None:
        raise UnavailableError(
            f"compiling kernels needs NVIDIA's {HEADER}, which the CUDA toolkit brings and also "
            "pip: pip install 'tinygen[sim]'; CUDA_HOME names a toolkit that stands elsewhere."
        )
    return headers


def _version(compiler: str) -> int:
    """The major version of a GCC; 0 for anything else."""
    if not compiler:
        return 0
    named = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout
    if "clang" in named:
        return 0
    asked = subprocess.run([compiler, "-dumpversion"], capture_output=True, text=True).stdout
    major = asked.split(".")[0].strip()
    return int(major) if major.isdecimal() else 0


def _folders() -> list[Path]:
    """Where the headers may be: the toolkit that CUDA_HOME names, pip's wheels, nvcc's own."""
    folders = []
    if "CUDA_HOME" in os.environ:
        folders.append(Path(os.environ["CUDA_HOME"]) / "include")
    folders += [Path(entry) / "nvidia" / "cu13" / "include" for entry in sys.path if entry]
    folders += [Path(entry) / "nvidia" / "cuda_runtime" / "include" for entry in sys.path if entry]
    nvcc = shutil.which("nvcc")
    if nvcc:
        folders.append(Path(nvcc).resolve().parents[1] / "include")
    folders.append(Path("/usr/local/cuda/include"))
    return folders


def _processor() -> tuple[str, ...]:
    """x86-64-v3 (AVX2, FMA, conversions of half precision) where this processor has it."""
    try:
        described = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ()
    flags = next((line for line in described.splitlines() if line.startswith("flags")), "").split()
    new = {"avx2", "fma", "f16c", "bmi2"} <= set(flags)
    return ("-march=x86-64-v3",) if new else ()
