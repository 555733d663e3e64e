"""NVIDIA's run-time compiler: from the text of a kernel to a cubin, on a machine without a GPU too.

The library comes with the CUDA toolkit and as a wheel, `pip install "tinygen[sim]"`. CuPy has it as
well, but compiles for the architecture of its device, sm_90 and not sm_90a, which has wgmma.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes.util import find_library
from functools import cache
from pathlib import Path

from tinygen.backend.simulator.toolchain import headers_folder
from tinygen.errors import TinygenError, UnavailableError

LIBRARIES = ("libnvrtc.so.13", "libnvrtc.so.12")


class CompileError(TinygenError, RuntimeError):
    """A kernel does not compile: an error in tinygen's own text."""


def compile_cubin(text: str, architecture: str, name: str = "kernel.cu") -> bytes:
    """Machine code of `text` for an architecture such as "sm_90a".

    Raises UnavailableError without the compiler or NVIDIA's headers, CompileError with its log.
    """
    library = _library()
    program = ctypes.c_void_p()
    created = library.nvrtcCreateProgram(
        ctypes.byref(program), text.encode(), name.encode(), 0, None, None
    )
    _require(library, created)
    try:
        options = [f"-arch={architecture}", "-std=c++17", f"-I{headers_folder()}"]
        given = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
        code = library.nvrtcCompileProgram(program, len(options), given)
        if code:
            log = _read(library, program, "ProgramLog").rstrip(b"\0").decode()
            raise CompileError(f"{name} for {architecture}: {log or _told(library, code)}")
        return _read(library, program, "CUBIN")
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _read(library: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _require(library, getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _require(library, getattr(library, f"nvrtcGet{what}")(program, buffer))
    return buffer.raw


def _require(library: ctypes.CDLL, code: int) -> None:
    if code:
        raise CompileError(f"NVRTC: {_told(library, code)}")


def _told(library: ctypes.CDLL, code: int) -> str:
    library.nvrtcGetErrorString.restype = ctypes.c_char_p
    told: bytes = library.nvrtcGetErrorString(code)
    return told.decode()


@cache
def _library() -> ctypes.CDLL:
    wheels = [Path(entry) / "nvidia" for entry in sys.path if entry]
    folders = [wheel / part / "lib" for wheel in wheels for part in ("cu13", "cuda_nvrtc")]
    for library in (folder / name for folder in folders for name in LIBRARIES):
        if library.is_file():
            for part in library.parent.glob("libnvrtc-builtins.so.*"):
                ctypes.CDLL(str(part))  # which it opens by name, and would not find there
            return ctypes.CDLL(str(library))
    for name in (*LIBRARIES, find_library("nvrtc")):
        try:
            if name is not None:
                return ctypes.CDLL(name)
        except OSError:
            continue
    raise UnavailableError(
        "compiling kernels needs NVIDIA's NVRTC, which the CUDA toolkit brings and also pip: "
        'pip install "tinygen[sim]".'
    )
