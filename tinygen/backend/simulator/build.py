"""Compiles kernels and the runtime, once for each content.

Everything stands in one folder of the user's cache, under a name that holds a hash of all that its
content depends on: sources, headers, compiler, options. Files are made under a name of their own
and then renamed, so that processes that compile the same thing at once do not meet.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tinygen.backend.simulator.source import alignment_of, find_kernels, translate
from tinygen.backend.simulator.toolchain import Toolchain, require_toolchain
from tinygen.errors import KernelError

RUNTIME = Path(__file__).parent / "runtime"
LANGUAGE = "language.hpp"

COMMON = [
    "-std=c++20",
    "-g1",
    "-gdwarf-4",  # addr2line mixes up the files of version 5
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-gnu-unique",
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
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def build(
    text: str, file: str, defines: Mapping[str, object], include: Sequence[Path], *, checking: bool
) -> Built:
    """The shared library of a .cu file; `KernelError` with the compiler's words if it is wrong."""
    tools = require_toolchain()
    options = [*COMMON, *tools.processor, *(CHECKING if checking else FAST)]
    headers = "".join(p.read_text() for folder in include for p in sorted(folder.glob("*.cuh")))
    runtime = _runtime(tools)
    key = _hash(text, file, repr(sorted(defines.items())), headers, runtime.name, *options)
    library = cache_folder() / f"kernels-{key}.so"
    about = library.with_suffix(".json")
    if about.is_file() and library.is_file():
        known = json.loads(about.read_text())
    else:
        kernels = find_kernels(text, defines, tools.compiler)
        if not kernels:
            raise KernelError(f'{file} has no kernel: none begins with extern "C" __global__ void.')
        names = {name: kernel.parameters for name, kernel in kernels.items()}
        known = {"kernels": names, "alignment": alignment_of(text)}
        source = translate(text, file, defines, kernels)
        language = _precompiled(tools, tuple(options), runtime.name)
        folders = [f"-I{folder}" for folder in [*include, RUNTIME, tools.headers]]
        command = ["-include", str(language), *options, *folders, "-x", "c++", "-"]
        _compile(tools, command, source, library, file, runtime)
        _write(about, json.dumps(known))
    return Built(library, known["kernels"], known["alignment"])


@functools.cache
def _runtime(tools: Toolchain) -> Path:
    """The runtime's library: all its files as one, optimised, never instrumented."""
    options = ["-std=c++20", "-O2", "-g1", "-fPIC", "-fvisibility=hidden", "-w", f"-I{RUNTIME}"]
    parts = sorted(RUNTIME.glob("*.cpp"))
    content = "".join(path.read_text() for path in sorted(RUNTIME.iterdir()) if path.is_file())
    library = cache_folder() / f"runtime-{_hash(content, repr(tools), *options)}.so"
    if not library.is_file():
        source = "".join(f'#include "{path.name}"\n' for path in parts)
        _compile(tools, [*options, "-x", "c++", "-"], source, library, "the simulator's runtime")
    return library


@functools.cache
def _precompiled(tools: Toolchain, options: tuple[str, ...], runtime: str) -> Path:
    """language.hpp with the compiler's digest of it at its side: most of a kernel's compilation."""
    folder = cache_folder() / f"language-{_hash(runtime, repr(tools), *options)}"
    header = folder / LANGUAGE
    digest = folder / f"{LANGUAGE}.gch"
    if not digest.is_file():
        folder.mkdir(exist_ok=True)
        _write(header, f'#error "the precompiled {LANGUAGE} cannot be read"\n')
        folders = [f"-I{RUNTIME}", f"-I{tools.headers}"]
        command = [*options, *folders, "-x", "c++-header", str(RUNTIME / LANGUAGE)]
        with _unfinished(digest) as made:
            _run(tools, [*command, "-o", str(made)], "", "the simulator's language header")
            os.replace(made, digest)
    return header


def _compile(
    tools: Toolchain, command: list[str], source: str, library: Path, what: str, *link: Path
) -> None:
    with _unfinished(library) as made:
        item = made.with_suffix(".o")
        _run(tools, [*command, "-c", "-o", str(item)], source, what)
        # Found beside each other; the sanitizers' own libraries are not linked: see hooks.cpp.
        beside = [f"-Wl,-soname,{library.name}", "-Wl,-rpath,$ORIGIN", "-Wl,--no-as-needed"]
        _run(tools, ["-shared", str(item), *beside, *map(str, link), "-o", str(made)], "", what)
        os.replace(made, library)


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """A name for what is to become `target`, in a folder of its own on the same disk."""
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="unfinished-") as folder:
        yield Path(folder) / target.name


def _run(tools: Toolchain, arguments: list[str], source: str, what: str) -> None:
    done = subprocess.run(
        [tools.compiler, *arguments], input=source, capture_output=True, text=True
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error" in line]
        raise KernelError(f"{what} does not compile:\n" + "\n".join(errors[:10] or [done.stderr]))


def _write(path: Path, text: str) -> None:
    with _unfinished(path) as made:
        made.write_text(text)
        os.replace(made, path)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]
