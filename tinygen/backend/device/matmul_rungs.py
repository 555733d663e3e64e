"""The ladder of matmul: its rungs, what each can multiply, and which one is taken."""

from __future__ import annotations

from typing import Any, NamedTuple

from tinygen.backend.device.rungs import wanted_rung
from tinygen.errors import UsageError

Array = Any


class Rung(NamedTuple):
    """A kernel of the ladder: its file, its tile of C, its block, its bytes of shared memory."""

    file: str
    tile: tuple[int, int]
    block: tuple[int, ...]
    k_step: int
    aligned: int = 1
    """Elements that rows of A and B are multiples of apart, and 16 bytes that they begin at."""
    bits: int | None = None
    """Of the numbers that it takes, if it does not take all."""
    least: int = 75
    """The first architecture that has its instructions."""


RUNGS = {
    "naive": Rung("matmul_simt.cu", (16, 16), (16, 16), 16),
    "tiled": Rung("matmul_simt.cu", (32, 32), (32, 8), 32),
    "registers": Rung("matmul_simt.cu", (128, 128), (256,), 8),
    "splits": Rung("matmul_splits.cu", (128, 128), (256,), 16, bits=32, least=80),
    "wgmma_parts": Rung("matmul_wgmma.cu", (128, 128), (384,), 64, bits=32, least=90),
    "mma": Rung("matmul_mma.cu", (128, 128), (256,), 32, aligned=8, bits=16, least=80),
    "wgmma": Rung("matmul_wgmma.cu", (128, 128), (384,), 64, aligned=8, bits=16, least=90),
}
BY_TMA = ("wgmma_parts", "wgmma")
"""Rungs of one kernel, for architecture 90 alone."""
FASTEST = ("wgmma", "mma", "registers")
"""What is tried, the first that can."""


class Matrix(NamedTuple):
    """A factor as a kernel reads it: (batch, rows, columns), transposed or not, its strides."""

    array: Array
    transposed: bool
    row: int
    batch: int


def matrix_of(backend: Any, x: Array) -> Matrix:
    item = x.itemsize
    batch, row, column = x.strides
    runs_along_an_axis = item in (row, column)
    if not runs_along_an_axis or min(x.strides) < 0:
        x = backend.xp.ascontiguousarray(x)
        batch, row, column = x.strides
    if column == item:
        return Matrix(x, False, row // item, batch // item)
    return Matrix(x, True, column // item, batch // item)


def chosen_rung(backend: Any, left: Matrix, right: Matrix, wanted: str | None) -> str:
    """The fastest that can multiply these matrices on this device, or the one that is wanted.
    Raises UsageError where that cannot."""
    wanted = wanted_rung(backend, "matmul", wanted)
    if not left.array.size or not right.array.size:
        return "registers"  # which asks nothing of where nothing lies
    if wanted is None:
        return next(name for name in FASTEST if not _obstacle(backend, name, left, right))
    obstacle = _obstacle(backend, wanted, left, right)
    if obstacle:
        raise UsageError(f"matmul's rung {wanted!r} {obstacle}; leave the choice to matmul.")
    return wanted


def _obstacle(backend: Any, name: str, left: Matrix, right: Matrix) -> str:
    """Why a rung cannot multiply these matrices here; empty if it can."""
    rung = RUNGS[name]
    available = backend.compute_capability
    if available < rung.least or (name in BY_TMA and available != rung.least):
        return f"is for architecture {rung.least}, and this device is {available}"
    if rung.bits not in (None, 8 * left.array.itemsize):
        return f"takes {rung.bits}-bit numbers, not {left.array.dtype}"
    if not all(aligned_at(backend, x, rung.aligned) for x in (left, right)):
        return f"takes rows that begin at multiples of 16 bytes, {rung.aligned} elements"
    return ""


def aligned_at(backend: Any, x: Matrix, elements: int) -> bool:
    """Whether rows and batches begin at multiples of 16 bytes and of so many elements."""
    if elements == 1:
        return True
    return backend.address(x.array) % 16 == 0 and x.row % elements == x.batch % elements == 0
