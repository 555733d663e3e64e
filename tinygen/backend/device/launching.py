"""What launchers share: how an array meets a kernel, and how many threads meet a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from math import prod
from typing import Any

import numpy as np

from tinygen.backend.device.rungs import RUNGS, rung_of, wanted_rung
from tinygen.backend.launch import Kernel, launch
from tinygen.errors import UsageError

Array = Any

TYPES: Mapping[str, str] = {"float32": "float", "float16": "f16", "bfloat16": "bf16"}
"""The kernels' names of dtypes; their arithmetic is float32 in all of them."""

DTYPES = tuple(TYPES)

ACCESS = 16
"""Bytes that a thread moves with one instruction, at most."""

ELEMENTS_A_THREAD = 16
"""Of a row that lies in registers: with as many of a second row, on its way, none spill."""

LONGEST_IN_REGISTERS = 1024 * ELEMENTS_A_THREAD

WORTH_COMPILING = 1 << 16
"""Elements from which on a kernel is compiled for its number of columns: below, launching is all
that takes time, and every new shape would cost a compilation."""

MOST_THREADS = 2048
"""That a multiprocessor runs at once, if none has more than 32 registers."""

THREADS_WITH_ROWS = 1024
"""The same where each holds parts of rows, in 64 registers at most."""

THREADS_WITH_SUMS = 512
"""And where it holds sums of columns beside: in 128."""


def has_elements(arrays: Sequence[Array], *_: Any) -> bool:
    """Whether the first input has any: what is empty is left to plain ops."""
    return bool(arrays[0].size)


def type_of(x: Array) -> str:
    return type_named(x.dtype)


@cache
def type_named(dtype: Any) -> str:
    """The kernels' name of a dtype."""
    return TYPES[dtype.name]  # of which NumPy makes the name anew each time


@cache
def has_type(dtype: Any) -> bool:
    """Whether kernels know this dtype."""
    return dtype.name in TYPES


def contiguous(backend: Any, x: Array) -> Array:
    """x, or a copy whose elements lie in order: of transposed matrices by a kernel."""
    if x.flags.c_contiguous:
        return x
    matrices = transposed(x)
    if matrices is None or not (backend.kernels and backend.launches):
        return backend.xp.ascontiguousarray(x)
    return transpose(backend, x, matrices, x.dtype)


def transposed(x: Array) -> tuple[int, int, int] | None:
    """(batch, rows, columns) of the matrices in memory of which x is the transposed view, whatever
    axes rows and columns are made of; None if x is no such view of a kernel's dtype."""
    if not has_type(x.dtype) or not x.size:
        return None
    axes = [(stride, n) for stride, n in zip(x.strides, x.shape, strict=True) if n > 1]
    order = sorted(range(len(axes)), key=lambda i: -axes[i][0])  # as they lie in memory
    step = x.itemsize
    for i in reversed(order):
        if axes[i][0] != step:
            return None
        step *= axes[i][1]
    first = next((i for i, axis in enumerate(order) if axis != i), len(order))
    turn = order[first] if first < len(order) else first
    if order[first:] != [*range(turn, len(order)), *range(first, turn)]:
        return None
    batch, columns, rows = (
        prod(n for _, n in axes[part])
        for part in (slice(first), slice(first, turn), slice(turn, None))
    )
    tiles = batch * blocks(rows, 32) * blocks(columns, 32)
    return (batch, rows, columns) if max(tiles, rows, columns) < 2**31 else None


def transpose(backend: Any, x: Array, matrices: tuple[int, int, int], dtype: Any) -> Array:
    """x as `dtype`, contiguous, where `transposed` has told its `matrices`."""
    batch, rows, columns = matrices
    y = backend.empty(x.shape, dtype)
    name = "transpose_naive" if rung_of(backend, "transpose") == "naive" else "transpose"
    kernel = Kernel("cast.cu", name, IN=type_of(x), OUT=type_of(y))
    grid = batch * blocks(rows, 32) * blocks(columns, 32)
    args = [y, backend.span(x), np.int32(rows), np.int32(columns)]
    launch(backend, kernel, (grid,), (32, 8), args)
    return y


def as_matrix(backend: Any, x: Array) -> Array:
    """(..., n) -> (rows, n), contiguous."""
    return contiguous(backend, x).reshape(prod(x.shape[:-1]), x.shape[-1])


def like(backend: Any, x: Array) -> Array:
    return backend.empty(x.shape, x.dtype)


def blocks(n: int, size: int) -> int:
    """Blocks of `size` that cover n."""
    return -(-n // size)


def persistent(backend: Any, wanted: int, threads: int = 256, resident: int = MOST_THREADS) -> int:
    """Blocks of a grid whose blocks loop: no more than the device runs at once, with so many
    `resident` threads a multiprocessor in blocks of `threads`."""
    return max(1, min(wanted, max(1, resident // threads) * int(backend.multiprocessors)))


def vector(backend: Any, n: int, *arrays: Array | None) -> int:
    """Elements an access, where accesses begin at multiples of n elements of contiguous arrays of
    one dtype: as many as 16 bytes hold if that divides n and the arrays lie at such addresses, else
    1."""
    held = [a for a in arrays if a is not None]
    wide = ACCESS // held[0].dtype.itemsize
    aligned = n % wide == 0 and all(backend.address(a) % ACCESS == 0 for a in held)
    return wide if aligned else 1


@cache
def team(columns: int, width: int) -> int:
    """Threads that share a row: whole warps, with at most ELEMENTS_A_THREAD each, and as few idle
    ones as that allows."""
    most = max(1, ELEMENTS_A_THREAD // width)
    vectors = blocks(columns, width)
    choices = [32 * warps for warps in range(1, 33) if blocks(vectors, 32 * warps) <= most]
    return min(choices, key=lambda threads: (blocks(vectors, threads) * threads, threads))


def in_registers(x: Array) -> bool:
    """Whether the rows of a matrix are worth a kernel that is compiled for their length."""
    rows, columns = x.shape
    return columns <= LONGEST_IN_REGISTERS and rows * columns >= WORTH_COMPILING


def rung_of_rows(backend: Any, operation: str, x: Array) -> str:
    """The rung for a matrix whose rows are reduced: "registers" if they are worth it, else the one
    below, or what is wanted."""
    wanted = wanted_rung(backend, operation)
    if wanted == "registers" and x.shape[1] > LONGEST_IN_REGISTERS:
        raise UsageError(
            f"{operation}'s rung 'registers' takes rows of at most {LONGEST_IN_REGISTERS} "
            f"elements, not {x.shape[1]}; leave the choice to {operation}."
        )
    return wanted or RUNGS[operation][-1 if in_registers(x) else -2]


def rows_grid(
    backend: Any, rows: int, threads: int, resident: int = THREADS_WITH_ROWS
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Grid and block of the kernels that keep rows in registers."""
    at_once = 4 if threads == 32 else 1
    grid = persistent(backend, blocks(rows, at_once), threads * at_once, resident)
    return (grid,), (threads, at_once)


def column_sums(backend: Any, partial: Array, dtype: Any) -> Array:
    """partial (slices, columns) float32 -> its sums over the slices (columns,)."""
    slices, columns = partial.shape
    sums = backend.empty((columns,), dtype)
    kernel = Kernel("column_sums.cu", "column_sums_finish", TYPE=type_of(sums))
    args = [sums, partial, np.int32(slices), np.int32(columns)]
    launch(backend, kernel, (blocks(columns, 32),), (32, 32), args)
    return sums


def bias_gradient(backend: Any, g: Array) -> Array:
    """The sums of g (rows, columns) over its rows."""
    g = as_matrix(backend, g)
    rows, columns = g.shape
    if rung_of(backend, "column_sums") == "naive":
        sums = backend.empty((columns,), g.dtype)
        kernel = Kernel("column_sums.cu", "column_sums_naive", TYPE=type_of(g))
        args = [sums, g, np.int32(rows), np.int32(columns)]
        launch(backend, kernel, (blocks(columns, 256),), (256,), args)
        return sums
    across = blocks(columns, 32)
    slices = blocks(persistent(backend, across * blocks(rows, 32), 1024), across)
    partial = backend.empty((slices, columns), np.float32)
    kernel = Kernel("column_sums.cu", "column_sums_partial", TYPE=type_of(g))
    args = [partial, g, np.int32(rows), np.int32(columns)]
    launch(backend, kernel, (across, slices), (32, 32), args)
    return column_sums(backend, partial, g.dtype)
