"""Kernels, and the one place that calls them.

    add = Kernel("activation.cu", "activation_forward", TYPE="float", VECTOR=4)
    launch(backend, add, grid, block, [y, slope, x, np.int64(n)])

A kernel is a name in a file of `kernels/`, with definitions that stand before the text. Compiled
modules are kept by what they were made of: the text with its headers, the definitions, the
architecture.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from tinygen.backend.signature import Parameter, require_arguments, signature
from tinygen.errors import UnavailableError

INCLUDE = re.compile(r'(?m)^#include "(\w+\.cuh)".*\n')
PACKAGE = Path(__file__).parents[1]


class Kernel:
    """`name` of kernels/`file`, compiled with `definitions`. Equal ones are compiled once."""

    def __init__(self, file: str, name: str, **definitions: object) -> None:
        self.file, self.name = file, name
        self.definitions = tuple(sorted(definitions.items()))
        self.module = file, self.definitions  # what is compiled together
        self._hash = hash((self.module, name))  # it is looked up at every launch

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Kernel)
            and self._hash == other._hash
            and (self.module, self.name) == (other.module, other.name)
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        given = "".join(f", {name}={value}" for name, value in self.definitions)
        return f"Kernel({self.file}, {self.name}{given})"


def launch(
    backend: Any,
    kernel: Kernel,
    grid: Sequence[int],
    block: Sequence[int],
    args: Sequence[Any],
    shared: int = 0,
) -> None:
    """Run `kernel` on arrays of `backend`, NumPy scalars of the parameters' exact types, and None
    for a null pointer; `shared` bytes of dynamic shared memory a block.

    A grid without blocks is no work and no launch. Raises what `signature.require_arguments` does
    for arguments that the kernel would misread: an array of another device or type, or one that is
    not contiguous, since a kernel sees memory and no strides; a number of another type.
    """
    if 0 in grid:
        return
    parameters = parameters_of(kernel)
    if parameters is not None:
        require_arguments(kernel.name, parameters, args, backend.array_type)
    backend.run(kernel, tuple(grid), tuple(block), args, shared)
    for told in _observers:
        told(backend, kernel)


_observers: list[Callable[[Any, Kernel], None]] = []


@contextmanager
def observed(told: Callable[[Any, Kernel], None]) -> Iterator[None]:
    """Inside, `told(backend, kernel)` is called after each launch."""
    _observers.append(told)
    try:
        yield
    finally:
        _observers.remove(told)


def span_of(array: Any) -> tuple[tuple[int], tuple[int]]:
    """(shape, strides) of the memory from a view's first element to its last, as one axis."""
    if array.size == 0:
        return (0,), (array.itemsize,)
    steps = zip(array.shape, array.strides, strict=True)
    last = sum((n - 1) * stride for n, stride in steps)
    return (last // array.itemsize + 1,), (array.itemsize,)


@cache
def kernels_folder() -> Path:
    """kernels/, in an installed package or beside it in a checkout."""
    for folder in (PACKAGE / "kernels", PACKAGE.parent / "kernels"):
        if (folder / "common.cuh").is_file():
            return folder
    raise UnavailableError(
        f"the kernels are neither in {PACKAGE / 'kernels'} nor beside the package; install tinygen "
        "again."
    )


@cache
def inlined(file: str) -> str:
    """The text of a file with its headers in their places, each once: a compiler that is given the
    text alone, as NVRTC is, finds no files, and a cache by content sees all of it."""
    seen: set[str] = set()

    def header(found: re.Match[str]) -> str:
        if found[1] in seen:
            return ""
        seen.add(found[1])
        return INCLUDE.sub(header, (kernels_folder() / found[1]).read_text())

    return INCLUDE.sub(header, (kernels_folder() / file).read_text())


def translation(kernel: Kernel) -> str:
    """All that a compiler is given for `kernel`."""
    definitions = "".join(f"#define {name} {value}\n" for name, value in kernel.definitions)
    return f"{definitions}{inlined(kernel.file)}"


@cache
def parameters_of(kernel: Kernel) -> list[Parameter] | None:
    """What `kernel` takes, as its text says; None for one that a macro makes."""
    return signature(translation(kernel), kernel.name)


def delays() -> int | None:
    """The seed in TINYGEN_DELAYS, if it is set: threads then run at a pace of its own choosing,
    which must not change a bit of any result (kernels/delay.cuh)."""
    given = os.environ.get("TINYGEN_DELAYS")
    return int(given) if given else None


def digest(text: str, *how: str) -> str:
    """A name for what a compiler makes of `text` when it is called so."""
    import hashlib  # OpenSSL comes with it: only for those who compile

    return hashlib.sha256("\0".join((text, *how)).encode()).hexdigest()[:32]
