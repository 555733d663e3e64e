"""Matrix products by kernels/matmul_*.cu: which rung, for which matrices, over which grid."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinygen.backend.device.activation import slope_backward
from tinygen.backend.device.launching import bias_gradient
from tinygen.backend.device.registry import serves
from tinygen.backend.launch import Kernel, launch

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
}
STAGES = 3

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
    not given; the same choice gives the same bits.
    """
    single = a.ndim == 2
    a, b = (x[None] if x.ndim == 2 else x for x in (a, b))
    (count, M, K), N = a.shape, b.shape[2]
    left, right = _matrix(backend, a), _matrix(backend, b)
    name = _rung(backend, left, right, rung)
    step = RUNGS[name]
    tiles = -(-M // step.tile[0]) * -(-N // step.tile[1]) * count
    if splits is None:
        idle = backend.multiprocessors // max(1, tiles)
        splits = min(MOST_SPLITS, idle, -(-K // step.k_step) // STEPS_OF_A_SPLIT)
    splits = max(1, splits)
    c = backend.empty((count, M, N), a.dtype)
    slope = backend.empty((count, M, N), a.dtype) if with_slope else None
    ends = [bias, slope, residual]
    sizes = [np.int32(n) for n in (M, N, K)]
    strides = [np.int64(n) for n in (left.row, right.row, N, left.batch, right.batch, M * N)]
    factors = [backend.span(x.array) for x in (left, right)]
    grid = -(-N // step.tile[1]), -(-M // step.tile[0]), count * splits
    kernel = _kernel(backend, name, left, right, activation, whole=splits == 1)
    if splits == 1:
        args = [*factors, c, *ends, *sizes, *strides, np.int32(1)]
        launch(backend, kernel, grid, step.block, args, _shared(name, kernel))
    else:
        parts = backend.empty((count, splits, M, N), np.float32)
        args = [*factors, parts, None, None, None, *sizes, *strides, np.int32(splits)]
        launch(backend, kernel, grid, step.block, args, _shared(name, kernel))
        add = Kernel("matmul_simt.cu", "add_splits", **_types(a), ACTIVATION=activation)
        args = [parts, c, *ends, *sizes[:2], np.int64(N), np.int64(M * N), np.int32(splits)]
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
    rows = x.reshape(-1, x.shape[-1]) if x.size else x.reshape(0, x.shape[-1])
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
    rows = g.reshape(g.size // out_features if out_features else 0, out_features)
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
    """The fastest that can read these matrices on this device, or the one that is wanted."""
    wanted = wanted or backend.rungs.get("matmul")
    if wanted is not None:
        return wanted
    tensor_cores = backend.compute_capability >= RUNGS["mma"].least
    sixteen_bits = left.array.dtype.itemsize == 2
    aligned = _aligned(backend, left, 8) and _aligned(backend, right, 8)
    return "mma" if tensor_cores and sixteen_bits and aligned else "registers"


def _aligned(backend: Any, x: Matrix, elements: int) -> bool:
    """Whether rows and batches begin at multiples of 16 bytes."""
    return backend.address(x.array) % 16 == 0 and x.row % elements == x.batch % elements == 0


def _types(x: Array) -> dict[str, str]:
    name = TYPES[x.dtype.name]
    return {"IN": name, "OUT": name}


def _kernel(
    backend: Any, name: str, left: Matrix, right: Matrix, activation: str, *, whole: bool
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
    return Kernel(RUNGS[name].file, f"matmul_{name}", **definitions)


def _shared(name: str, kernel: Kernel) -> int:
    """Bytes of dynamic shared memory: of mma the stages, as matmul_mma.cu has them."""
    if name != "mma":
        return 0
    given = dict(kernel.definitions)
    a = 32 * (128 + 8) if given["TRANSPOSE_A"] else 128 * (32 + 8)
    b = 128 * (32 + 8) if given["TRANSPOSE_B"] else 32 * (128 + 8)
    return 2 * STAGES * (a + b)
