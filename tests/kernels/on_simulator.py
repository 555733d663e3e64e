"""What the tests of kernels share: numbers in the kernels' types, launches with every check on, and
the bound that errors are held against. TINYGEN_TEST_DEVICE=cuda:0 launches them on a GPU instead.

A formula is written once, as a function of arrays and of `r`, which rounds after every step. In
float64, with no rounding, it is the truth; in float32 with the rounding of the kernel's type it is
the plain computation whose error a kernel may have twice, and a rounding of the result more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

from tinygen.backend import backend_named
from tinygen.backend.launch import Kernel, kernels_folder, launch, parameters_of
from tinygen.backend.simulator import Module, empty, require_toolchain
from tinygen.errors import UnavailableError

Array = np.ndarray[Any, Any]
Round = Callable[[Array], Array]

DEVICE = os.environ.get("TINYGEN_TEST_DEVICE", "sim")


@dataclass(frozen=True)
class Format:
    """A type of a kernel's elements. 16-bit floats travel as their bits."""

    name: str
    storage: str
    vector: int  # elements of 16 bytes
    unit: float  # half the distance from 1 to the next number
    least: float  # half the distance of the smallest numbers, or what becomes 0

    def encode(self, x: Any) -> Array:
        """Rounded to nearest, ties to even, in an array with guard zones."""
        x = np.asarray(x, np.float32)
        if self.name == "bf16":
            bits = x.view(np.uint32).astype(np.uint64)
            rounded = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
            x = np.where(np.isnan(x), np.uint16(0x7FC0), rounded)
        with np.errstate(over="ignore"):  # to infinity
            return guarded(x.astype(self.storage))

    def decode(self, bits: Array) -> Array:
        if self.name == "bf16":
            return (bits.astype(np.uint32) << 16).view(np.float32)
        return bits.astype(np.float32)

    def round(self, x: Any) -> Array:
        return self.decode(self.encode(x)).reshape(np.shape(x))


FLOAT = Format("float", "float32", 4, 2.0**-24, 2.0**-126)
BF16 = Format("bf16", "uint16", 8, 2.0**-8, 2.0**-126)
F16 = Format("f16", "float16", 8, 2.0**-11, 2.0**-25)


@dataclass(frozen=True)
class Output:
    """An argument that the kernel writes: `start` at first, or NaN."""

    shape: tuple[int, ...]
    dtype: Any = "float32"
    start: Array | None = None

    def fresh(self) -> Array:
        return empty(self.shape, self.dtype) if self.start is None else guarded(self.start)


def out(shape: tuple[int, ...] | int, format: Format = FLOAT) -> Output:
    return Output(shape if isinstance(shape, tuple) else (shape,), format.storage)


def updated(start: Array) -> Output:
    """An argument that the kernel reads and writes."""
    return Output(start.shape, start.dtype, start)


def guarded(x: Array) -> Array:
    held = empty(x.shape, x.dtype)
    held[...] = x
    return held


@cache
def compiled(file: str, defines: tuple[tuple[str, object], ...]) -> Module:
    try:
        require_toolchain()
    except UnavailableError as error:
        pytest.skip(str(error))
    return Module(kernels_folder() / file, dict(defines), checking=True)


def run(
    file: str,
    kernel: str,
    grid: int | Sequence[int],
    block: int | Sequence[int],
    args: Sequence[Any],
    **defines: object,
) -> list[Array]:
    """The outputs of a launch in which nothing was found. It runs twice, threads and blocks in
    order and at random, and must give the same bits."""
    sizes = [(n,) if isinstance(n, int) else tuple(n) for n in (grid, block)]
    results = []
    for schedule in ("forward", "random"):
        held = [a.fresh() if isinstance(a, Output) else a for a in args]
        if DEVICE == "sim":
            module = compiled(file, tuple(sorted(defines.items())))
            module.launch(kernel, *sizes, held, schedule=schedule, seed=1)
            assert_read_alike(Kernel(file, kernel, **defines), module)
        else:
            held = launched(Kernel(file, kernel, **defines), *sizes, held)
        results.append([h for a, h in zip(args, held, strict=True) if isinstance(a, Output)])
    for first, second in zip(*results, strict=True):
        assert first.tobytes() == second.tobytes(), f"{kernel} depends on the order of threads"
    return results[0]


def assert_read_alike(kernel: Kernel, module: Module) -> None:
    """What `launch` reads of the kernel's parameters in its text is what a compiler makes of them,
    but for the sizes of structures."""
    read = parameters_of(kernel)
    if read is not None:
        made = module.parameters(kernel.name)
        assert [(p.name, p.kind, p.type) for p in read] == [(p.name, p.kind, p.type) for p in made]
        assert all(r.size in (0, m.size) for r, m in zip(read, made, strict=True)), kernel


def launched(kernel: Kernel, grid: Any, block: Any, args: Sequence[Any]) -> list[Any]:
    """The arguments after a launch on the device, back on the host."""
    backend = backend_named(DEVICE)
    moved = [backend.asarray(a) if isinstance(a, np.ndarray) else a for a in args]
    launch(backend, kernel, grid, block, moved)
    return [backend.to_numpy(a) if isinstance(a, backend.array_type) else a for a in moved]


def evaluated(
    formula: Callable[..., Any], format: Format, *arrays: Array | None, **options: Any
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """The results of a formula as truth and as the plain computation in `format`."""
    exact = [a if a is None else a.astype(np.float64) for a in arrays]
    plain = [a if a is None else a.astype(np.float32) for a in arrays]
    with np.errstate(over="ignore", under="ignore"):
        truth = formula(*exact, r=lambda x: x, **options)
        rough = formula(*plain, r=format.round, **options)
    return truth, rough


def assert_accurate(
    got: Array, truth: Array, plain: Array, format: Format, what: str, scale: float | None = None
) -> None:
    """The largest error is at most twice the plain computation's and a few roundings of the
    largest result; NaN fails. `scale` is what was rounded where that is larger: the sum of the
    terms' magnitudes in a sum that cancels."""
    assert got.shape == np.shape(truth), f"{what}: shape {got.shape}, not {np.shape(truth)}"
    if not got.size:
        return
    error = np.abs(got.astype(np.float64) - truth).max()
    bound = 2 * np.abs(np.asarray(plain, np.float64) - truth).max()
    bound += 4 * format.unit * (np.abs(truth).max() if scale is None else scale) + 1e-30
    assert error <= bound, f"{what}: error {error:.3g} beyond {bound:.3g}"


def numbers(rng: np.random.Generator, format: Format, *shape: int, scale: float = 1.0) -> Array:
    """Normal numbers in the kernel's type."""
    return format.encode(rng.standard_normal(shape) * scale)


def blocks(n: int, size: int) -> int:
    return -(-n // size)
