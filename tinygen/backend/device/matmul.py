"""Matrix products by kernels/matmul_*.cu: which rung, for which matrices, over which grid."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from tinygen.backend.device.activation import slope_backward
from tinygen.backend.device.launching import bias_gradient
from tinygen.backend.device.registry import serves
from tinygen.backend.launch import Kernel, launch
from tinygen.errors import UsageError

Array = Any

TYPES = {"float32": "float", "float16": "f16"}


class Rung(NamedTuple):
    """A kernel of the ladder: its file, its tile of C, its block, its bytes of shared memory."""

    file: str
    tile: tuple[int, int]
    block: tuple[int, ...]
    k_step: int
    aligned: int = 1
    """Elements that rows of A and B are multiples of apart, and 16 bytes that they begin at."""
    least: int = 75
    """The first architecture that has its instructions."""


RUNGS = {
    "naive": Rung("matmul_simt.cu", (16, 16), (16, 16), 16),
    "tiled": Rung("matmul_simt.cu", (32, 32), (32, 8), 32),
    "registers": Rung("matmul_simt.cu", (128, 128), (256,), 8),
    "mma": Rung("matmul_mma.cu", (128, 128), (256,), 32, aligned=8, least=80),
    "wgmma": Rung("matmul_wgmma.cu", (128, 128), (384,), 64, aligned=8, least=90),
}
FASTEST = ("wgmma", "mma", "registers")
"""What is tried, the first that can."""
STAGES = {"mma": 3, "wgmma": 4}
WIDE = 256
"""Columns of wgmma's tile where there are tiles enough for every multiprocessor."""
SLAB = 64
"""Rows and columns of what wgmma's copies are made of."""

MOST_SPLITS = 16
STEPS_OF_A_SPLIT = 4
"""Steps along K that a part of a split product has at least."""


class Matrix(NamedTuple):
    """A factor as a kernel reads it: (batch, rows, columns), transposed or not, its strides."""

    array: Array
    transposed: bool
    row: int
    batch: int


def matmul(
    backend: Any,
    a: Array,
    b: Array,
    *,
    bias: Array | None = None,
    residual: Array | None = None,
    activation: str = "identity",
    with_slope: bool = False,
    rung: str | None = None,
    splits: int | None = None,
) -> tuple[Array, Array | None]:
    """(C, slope): C = f(A B + bias) + residual, and f' there if it is asked for.

    A (M, K) or (batch, M, K), B (K, N) or (batch, K, N), of one dtype, any strides: a factor of
    which neither axis runs along memory is copied. `rung` and `splits` are chosen where they are
    not given; the same choice gives the same bits. Raises UsageError for a rung that there is not,
    or that cannot multiply these.
    """
    single = a.ndim == 2
    a, b = (x[None] if x.ndim == 2 else x for x in (a, b))
    (count, M, K), N = a.shape, b.shape[2]
    left, right = _matrix(backend, a), _matrix(backend, b)
    name = _rung(backend, left, right, rung)
    step = RUNGS[name]
    if name == "wgmma" and -(-M // step.tile[0]) * (N // WIDE) * count >= backend.multiprocessors:
        step = step._replace(tile=(step.tile[0], WIDE))
    tiles = -(-M // step.tile[0]) * -(-N // step.tile[1]) * count
    if splits is None:
        idle = backend.multiprocessors // max(1, tiles)
        splits = min(MOST_SPLITS, idle, -(-K // step.k_step) // STEPS_OF_A_SPLIT)
    splits = max(1, splits)
    c = backend.empty((count, M, N), a.dtype)
    slope = backend.empty((count, M, N), a.dtype) if with_slope else None
    if residual is not None and backend.address(residual) % 8:
        residual = residual.copy()  # which kernels read two numbers at a time
    ends = [bias, slope, residual]
    sizes = [np.int32(n) for n in (M, N, K)]
    kernel = _kernel(backend, name, step, left, right, activation, whole=splits == 1)
    if splits == 1:
        product, product_ends = c, ends
    else:
        product, product_ends = backend.empty((count, splits, M, N), np.float32), [None] * 3
    if name == "wgmma":
        factors = [
            _map(backend, left, step.tile[0]),
            _map(backend, right, step.tile[1], turned=True),
        ]
        strides, numbers = [N, M * N], [count, splits]
        grid: tuple[int, ...] = (min(tiles * splits, backend.multiprocessors),)
    else:
        factors = [backend.span(x.array) for x in (left, right)]
        strides, numbers = [left.row, right.row, N, left.batch, right.batch, M * N], [splits]
        grid = -(-N // step.tile[1]), -(-M // step.tile[0]), count * splits
    args = [*factors, product, *product_ends, *sizes]
    args += [np.int64(n) for n in strides] + [np.int32(n) for n in numbers]
    if product.size:
        launch(backend, kernel, grid, step.block, args, _shared(name, step, kernel))
    if splits > 1:
        add = Kernel("matmul_simt.cu", "add_splits", **_types(a), ACTIVATION=activation)
        args = [product, c, *ends, *sizes[:2], np.int64(N), np.int64(M * N), np.int32(splits)]
        launch(backend, add, (-(-M * N // 256), 1, count), (256,), args)
    if single:
        return c[0], None if slope is None else slope[0]
    return c, slope


@serves("linear_forward", dtypes=tuple(TYPES))
def linear_forward(
    backend: Any,
    x: Array,
    weight: Array,
    bias: Array | None = None,
    activation: str | None = None,
    with_derivative: bool = True,
) -> tuple[Array, Array | None]:
    """y = f(x W^T + b) and f', as the CPU's primitive: one launch."""
    rows = x.reshape(prod(x.shape[:-1]), x.shape[-1])
    y, slope = matmul(
        backend,
        rows,
        weight.T,
        bias=bias,
        activation=activation or "identity",
        with_slope=with_derivative and activation is not None,
    )
    shape = (*x.shape[:-1], len(weight))
    return y.reshape(shape), None if slope is None else slope.reshape(shape)


@serves("linear_backward", dtypes=tuple(TYPES))
def linear_backward(
    backend: Any,
    g: Array,
    x: Array,
    weight: Array,
    derivative: Array | None,
    needs: tuple[bool, ...],
) -> tuple[Array | None, Array | None, Array | None]:
    """(dx, dweight, dbias), None where `needs` does not ask for one."""
    out_features, in_features = weight.shape
    rows = g.reshape(prod(g.shape[:-1]), out_features)
    dx = dweight = dbias = None
    if derivative is not None and rows.size:
        rows, dbias = slope_backward(backend, rows, derivative.reshape(rows.shape))
    if needs[0]:
        dx = matmul(backend, rows, weight)[0].reshape(x.shape)
    if needs[1]:
        dweight = matmul(backend, rows.T, x.reshape(len(rows), in_features))[0]
    if needs[2] and dbias is None:
        dbias = bias_gradient(backend, rows) if rows.size else rows.sum(axis=0)
    return dx, dweight, dbias if needs[2] else None


def _matrix(backend: Any, x: Array) -> Matrix:
    item = x.itemsize
    batch, row, column = x.strides
    runs_along_an_axis = item in (row, column)
    if not runs_along_an_axis or min(x.strides) < 0:
        x = backend.xp.ascontiguousarray(x)
        batch, row, column = x.strides
    if column == item:
        return Matrix(x, False, row // item, batch // item)
    return Matrix(x, True, column // item, batch // item)


def _rung(backend: Any, left: Matrix, right: Matrix, wanted: str | None) -> str:
    """The fastest that can multiply these matrices on this device, or the one that is wanted.
    Raises UsageError where that cannot."""
    wanted = wanted or backend.rungs.get("matmul")
    if wanted is not None and wanted not in RUNGS:
        raise UsageError(f"matmul has no rung {wanted!r}; it has {', '.join(RUNGS)}.")
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
    if rung.aligned == 1:
        return ""
    available = backend.compute_capability
    if available < rung.least or (name == "wgmma" and available != rung.least):
        return f"is for architecture {rung.least}, and this device is {available}"
    if left.array.dtype.itemsize != 2:
        return f"takes 16-bit numbers, not {left.array.dtype}"
    if not all(_aligned(backend, x, rung.aligned) for x in (left, right)):
        return f"takes rows that begin at multiples of 16 bytes, {rung.aligned} elements"
    return ""


def _aligned(backend: Any, x: Matrix, elements: int) -> bool:
    """Whether rows and batches begin at multiples of 16 bytes."""
    return backend.address(x.array) % 16 == 0 and x.row % elements == x.batch % elements == 0


def _types(x: Array) -> dict[str, str]:
    name = TYPES[x.dtype.name]
    return {"IN": name, "OUT": name}


def _map(backend: Any, x: Matrix, tile: int, *, turned: bool = False) -> Any:
    """How TMA copies a factor: whole rows of 64 of k, or slabs of 64 of k by 64 across it. B's rows
    run along k where it is transposed, A's where it is not."""
    lines = x.array.swapaxes(1, 2) if x.transposed else x.array
    along_k = x.transposed == turned
    return backend.tensor_map(lines, (1, tile if along_k else SLAB, SLAB))


def _kernel(
    backend: Any,
    name: str,
    step: Rung,
    left: Matrix,
    right: Matrix,
    activation: str,
    *,
    whole: bool,
) -> Kernel:
    """The kernel of a rung; the parts of a split product are float32 and have no epilogue."""
    types = _types(left.array)
    definitions: dict[str, object] = {"ACTIVATION": activation, **types}
    if not whole:
        definitions |= {"OUT": "float", "ACTIVATION": "identity"}
    definitions |= {"TRANSPOSE_A": int(left.transposed), "TRANSPOSE_B": int(right.transposed)}
    if name == "registers":
        four = _aligned(backend, left, 4) and _aligned(backend, right, 4)
        definitions["VECTOR"] = 4 if four and types["IN"] == "float" else 1
    if name == "wgmma":
        definitions["BN"] = step.tile[1]
    return Kernel(RUNGS[name].file, f"matmul_{name}", **definitions)


def _shared(name: str, step: Rung, kernel: Kernel) -> int:
    """Bytes of dynamic shared memory: the stages of two tiles, as the kernels lay them out."""
    if name == "wgmma":
        barriers = 2 * 8 * STAGES[name]
        return STAGES[name] * 2 * sum(step.tile) * step.k_step + barriers
    if name != "mma":
        return 0
    given, (bm, bn), k = dict(kernel.definitions), step.tile, step.k_step
    a = k * (bm + 8) if given["TRANSPOSE_A"] else bm * (k + 8)
    b = bn * (k + 8) if given["TRANSPOSE_B"] else k * (bn + 8)
    return 2 * STAGES[name] * (a + b)
