"""Compiles kernels and the runtime, once for each content.

Everything stands in one folder of the user's cache, under a name that holds a hash of all that its
content depends on: sources, headers, compiler, options. Files are made under a name of their own
and then renamed; of processes that need the same file at once, one makes it and the others wait.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tinygen.backend.simulator.source import alignment_of, find_kernels, translate
from tinygen.backend.simulator.toolchain import Toolchain, require_toolchain
from tinygen.errors import KernelError
from tinygen.files import output_errors

RUNTIME = Path(__file__).parent / "runtime"
LANGUAGE = "language.hpp"

COMMON = [
    "-std=c++20",
    "-g1",
    "-gdwarf-4",  # addr2line mixes up the files of version 5
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-gnu-unique",
    "-fno-exceptions",
    "-fno-plt",
    "-fno-finite-loops",  # an endless loop without effect is kept, and so found
    "-fstack-clash-protection",  # large frames meet the page that ends the stack
    "-fno-optimize-sibling-calls",  # a call's return address is then in the kernel
    "-w",
    "-Wno-psabi",
]
FAST = ["-O2", "-ffp-contract=fast", "-fno-threadsafe-statics"]
CHECKING = [
    "-O1",
    "-ffp-contract=fast",
    "-fno-threadsafe-statics",
    "-fno-tree-sra",  # a float4 is then loaded by one access
    "-fsanitize=thread,undefined,float-cast-overflow",
    "-fno-sanitize=vptr,object-size",
    "-fno-sanitize-recover=undefined",
    "-fsanitize-coverage=trace-pc",
]


class Built(NamedTuple):
    library: Path
    kernels: dict[str, list[str]]
    """Parameters' names by kernel."""
    alignment: int
    """Of dynamic shared memory."""


def cache_folder() -> Path:
    """TINYGEN_SIM_CACHE, or a folder in the user's cache."""
    named = os.environ.get("TINYGEN_SIM_CACHE")
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(named) if named else caches / "tinygen" / "simulator"
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def build(
    text: str, file: str, defines: Mapping[str, object], include: Sequence[Path], *, checking: bool
) -> Built:
    """The shared library of a .cu file; `KernelError` with the compiler's words if it is wrong."""
    tools = require_toolchain()
    options = [*COMMON, *tools.processor, *(CHECKING if checking else FAST)]
    headers = "".join(p.read_text() for folder in include for p in sorted(folder.glob("*.cuh")))
    runtime = cache_folder() / _runtime(tools)
    key = _hash(text, file, repr(sorted(defines.items())), headers, runtime.name, *options)
    library = cache_folder() / f"kernels-{key}.so"
    about = library.with_suffix(".json")
    if not (about.is_file() and library.is_file()):
        kernels = find_kernels(text, defines, tools.compiler)
        if not kernels:
            raise KernelError(f'{file} has no kernel: none begins with extern "C" __global__ void.')
        source = translate(text, file, defines, kernels)
        folders = [f"-I{folder}" for folder in [*include, RUNTIME, tools.headers]]
        with ThreadPoolExecutor(1) as beside:
            compiled = beside.submit(_compile_runtime, tools, runtime)
            language = _precompiled(tools, tuple(options), runtime.name)
            compiled.result()
        command = ["-include", str(language), *options, *folders, "-x", "c++", "-"]
        _compile(tools, command, source, library, file, runtime)
        names = {name: kernel.parameters for name, kernel in kernels.items()}
        _write(about, json.dumps({"kernels": names, "alignment": alignment_of(text)}))
    return Built(library, **json.loads(about.read_text()))


RUNTIME_OPTIONS = ["-std=c++20", "-O2", "-fno-exceptions", "-fPIC", "-fvisibility=hidden", "-w"]


@functools.cache
def _runtime(tools: Toolchain) -> str:
    """The name of the runtime's library."""
    content = [path.read_text() for path in sorted(RUNTIME.rglob("*")) if path.is_file()]
    return f"runtime-{_hash(repr(tools), *RUNTIME_OPTIONS, *content)}.so"


def _compile_runtime(tools: Toolchain, library: Path) -> None:
    """All its files as one, optimised, never instrumented."""
    source = "".join(f'#include "{path.name}"\n' for path in sorted(RUNTIME.glob("*.cpp")))
    command = [*RUNTIME_OPTIONS, f"-I{RUNTIME}", "-x", "c++", "-"]
    _compile(tools, command, source, library, "the simulator's runtime")


@functools.cache
def _precompiled(tools: Toolchain, options: tuple[str, ...], runtime: str) -> Path:
    """language.hpp with the compiler's digest of it at its side: most of a kernel's compilation."""
    folder = cache_folder() / f"language-{_hash(runtime, repr(tools), *options)}"
    header = folder / LANGUAGE
    folder.mkdir(exist_ok=True)
    _write(header, f'#error "the precompiled {LANGUAGE} cannot be read"\n')
    with _making(folder / f"{LANGUAGE}.gch") as made:
        if made:
            folders = [f"-I{RUNTIME}", f"-I{tools.headers}"]
            command = [*options, *folders, "-x", "c++-header", str(RUNTIME / LANGUAGE)]
            _run(tools, [*command, "-o", str(made)], "", "the simulator's language header")
    return header


def _compile(
    tools: Toolchain, command: list[str], source: str, library: Path, what: str, *link: Path
) -> None:
    with _making(library) as made:
        if made:
            item = made.with_suffix(".o")
            _run(tools, [*command, "-c", "-o", str(item)], source, what)
            # Found beside each other; the sanitizers' own libraries are not linked: see hooks.cpp.
            beside = [f"-Wl,-soname,{library.name}", "-Wl,-rpath,$ORIGIN", "-Wl,--no-as-needed"]
            parts = [str(item), *beside, *map(str, link)]
            whole = ["-shared", *parts, "-o", str(made)]
            try:
                _run(tools, [*tools.linker, *whole], "", what)
            except KernelError:  # a compiler out of its place is known to its own linker alone
                _run(tools, whole, "", what)


@contextmanager
def _making(target: Path) -> Iterator[Path | None]:
    """A name to make `target` under, or None if it is there: another process may make it at the
    same time, and is waited for."""
    with open(cache_folder() / f"{target.parent.name}-{target.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            yield None
            return
        with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="unfinished-") as folder:
            made = Path(folder) / target.name
            yield made
            os.replace(made, target)


def _run(tools: Toolchain, arguments: list[str], source: str, what: str) -> None:
    done = subprocess.run(
        [tools.compiler, *arguments], input=source, capture_output=True, text=True
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line]
        raise KernelError(f"{what} does not compile:\n" + "\n".join(errors[:10] or [done.stderr]))


def _write(path: Path, text: str) -> None:
    with _making(path) as made:
        if made:
            made.write_text(text)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
