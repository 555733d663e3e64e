"""Matrix products by kernels/matmul_*.cu: over which grid, and with what at their end."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tinygen.backend.device.launching import bias_gradient, column_sums, type_named, type_of
from tinygen.backend.device.matmul_parts import PARTS, in_parts
from tinygen.backend.device.matmul_rungs import (
    BY_TMA,
    RUNGS,
    Matrix,
    Rung,
    aligned_at,
    chosen_rung,
    matrix_of,
)
from tinygen.backend.device.matmul_wgmma import (
    can_stage,
    shape_of_work,
    shared_bytes,
    windows,
)
from tinygen.backend.launch import Kernel, launch
from tinygen.errors import ShapeError

Array = Any

STAGES = {"splits": 2, "mma": 3}
MOST_SPLITS = 16
STEPS_OF_A_SPLIT = 4
"""Steps along K that a part of a split product has at least."""


ARRAYS = ("BIAS", "SLOPE", "SCALE", "RESIDUAL")
"""What an epilogue may read and write beside C."""

LARGEST = 2**31 - 2**12
"""What kernels count in 32 bits: rows, columns, terms and tiles of a product."""


class Product(NamedTuple):
    """C, the activation's slope, and the sums of C over its rows; None where not asked for."""

    c: Array
    slope: Array | None
    sums: Array | None


def matmul(
    backend: Any,
    a: Array,
    b: Array,
    *,
    bias: Array | None = None,
    scale: Array | None = None,
    residual: Array | None = None,
    activation: str = "identity",
    with_slope: bool = False,
    with_sums: bool = False,
    rung: str | None = None,
    splits: int | None = None,
) -> Product:
    """C = f(A B + bias) scale + residual, and f' there and the sums of C over its rows (N,) if they
    are asked for; the sums of one product, not of a batch.

    A (M, K) or (batch, M, K), B (K, N) or (batch, K, N), of one dtype, any strides: a factor of
    which neither axis runs along memory is copied. `rung` and `splits` are chosen where they are
    not given; the same choice gives the same bits. Raises UsageError for a rung that there is not,
    or that cannot multiply these; ShapeError for more than 2^31 rows, columns, terms or tiles.
    """
    single = a.ndim == 2
    a, b = (x[None] if x.ndim == 2 else x for x in (a, b))
    (count, M, K), N = a.shape, b.shape[2]
    if max(M, N, K) > LARGEST:
        raise _too_large(count, M, N, K)
    left, right = matrix_of(backend, a), matrix_of(backend, b)
    name = chosen_rung(backend, left, right, rung)
    step = RUNGS[name]
    if name == "wgmma_parts":
        left, right = in_parts(backend, left), in_parts(backend, right)
    steps = -(-K // step.k_step)
    most = max(1, min(MOST_SPLITS, steps // STEPS_OF_A_SPLIT))
    if name == "wgmma":
        wanted = max(1, splits or 1)
        choice = range(1, most + 1) if splits is None else range(wanted, wanted + 1)
        width, splits = shape_of_work(backend.multiprocessors, count, M, N, steps, choice)
        step = step._replace(tile=(step.tile[0], width))
    tiles = -(-M // step.tile[0]) * -(-N // step.tile[1]) * count
    if splits is None:
        splits = min(most, backend.multiprocessors // max(1, tiles))
    splits = max(1, splits)
    if tiles * splits > LARGEST:
        raise _too_large(count, M, N, K)
    c = backend.empty((count, M, N), a.dtype)
    slope = backend.empty((count, M, N), a.dtype) if with_slope else None
    gradient = with_sums or scale is not None
    bias, scale, residual = (_at_pairs(backend, x) for x in (bias, scale, residual))
    end = Epilogue(activation, gradient, [bias, slope, scale, residual])
    partial = None
    if splits == 1:
        if with_sums:
            partial = backend.empty((-(-M // step.tile[0]), N), np.float32)
        _multiply(backend, name, step, left, right, c, end, partial, splits)
    else:
        parts = backend.empty((count, splits, M, N), np.float32)
        _multiply(backend, name, step, left, right, parts, Epilogue(), None, splits)
        _add(backend, parts, c, end)
    if single:
        c, slope = c[0], None if slope is None else slope[0]
    sums = None
    if with_sums:
        whole = partial is None
        sums = bias_gradient(backend, c) if whole else column_sums(backend, partial, c.dtype)
    return Product(c, slope, sums)


class Epilogue(NamedTuple):
    """What becomes of a product before it is stored: that of matmul.cuh."""

    activation: str = "identity"
    gradient: bool = False
    arrays: Sequence[Array | None] = (None,) * 4
    """bias, slope, scale, residual"""

    @property
    def definitions(self) -> dict[str, object]:
        return {"ACTIVATION": self.activation, **({"GRADIENT": 1} if self.gradient else {})}

    @property
    def present(self) -> tuple[bool, ...]:
        """Which of the arrays there are: wgmma's kernel is compiled for these alone."""
        return tuple([x is not None for x in self.arrays])


def _multiply(
    backend: Any,
    name: str,
    step: Rung,
    left: Matrix,
    right: Matrix,
    product: Array,
    end: Epilogue,
    sums: Array | None,
    splits: int,
) -> None:
    """product (batch, M, N), or its parts (batch, splits, M, N) in float32."""
    if not product.size:
        return
    count, (M, N), K = len(product), product.shape[-2:], left.array.shape[2]
    slope = end.arrays[1]
    staged = name in BY_TMA and can_stage(product, slope, gradient=end.gradient)
    four = aligned_at(backend, left, 4) and aligned_at(backend, right, 4)
    made = _planned(
        (name, step, backend.multiprocessors),
        (count, M, N, K, splits),
        (left[1:], right[1:]),
        (left.array.dtype, product.dtype),
        (end.activation, end.gradient, end.present),
        staged=staged,
        four=four,
    )
    if name in BY_TMA:
        factors = windows(backend, left, right, product, slope, step.tile, staged=staged)
    else:
        factors = [backend.span(x.array) for x in (left, right)]
    args = [*factors, product, *end.arrays, sums, *made.numbers]
    launch(backend, made.kernel, (made.blocks,), step.block, args, made.shared)


class Plan(NamedTuple):
    """What products of one form share: the kernel, its grid and bytes of dynamic shared memory, and
    the numbers that follow its arrays."""

    kernel: Kernel
    blocks: int
    shared: int
    numbers: tuple[Any, ...]


@lru_cache(4096)
def _planned(
    rung: tuple[str, Rung, int],
    sizes: tuple[int, ...],
    factors: tuple[tuple[bool, int, int], tuple[bool, int, int]],
    dtypes: tuple[Any, Any],
    end: tuple[str, bool, tuple[bool, ...]],
    *,
    staged: bool,
    four: bool,
) -> Plan:
    """`factors`: transposed, row and batch of each `Matrix`; `end`: what `Epilogue` has; `four`:
    whether rows of both begin at multiples of 16 bytes."""
    (name, step, multiprocessors), (count, M, N, K, splits) = rung, sizes
    (left_turned, *left), (right_turned, *right) = factors
    activation, gradient, present = end
    blocks = -(-M // step.tile[0]) * -(-N // step.tile[1]) * count * splits
    given: dict[str, object] = {"ACTIVATION": activation, **({"GRADIENT": 1} if gradient else {})}
    as_parts = {"IN": "bf16", "FACTOR_PARTS": PARTS}
    given |= as_parts if name == "wgmma_parts" else {"IN": type_named(dtypes[0])}
    given["OUT"] = type_named(dtypes[1])
    given |= {"TRANSPOSE_A": int(left_turned), "TRANSPOSE_B": int(right_turned)}
    kernel = f"matmul_{name}"
    if name in BY_TMA:
        kernel, blocks = "matmul_wgmma", min(blocks, multiprocessors)
        apart, counts = [N, M * N], [count, splits]
        given |= {"BN": step.tile[1], "STAGED": int(staged)}
        given |= {name: int(there) for name, there in zip(ARRAYS, present, strict=True)}
    else:
        apart, counts = [left[0], right[0], N, left[1], right[1], M * N], [splits]
    if name in ("registers", "splits"):
        given["VECTOR"] = 4 if four and dtypes[0].itemsize == 4 else 1
    numbers = (
        *(np.int32(n) for n in (M, N, K)),
        *(np.int64(n) for n in apart),
        *(np.int32(n) for n in counts),
    )
    shared = _shared(name, step, left_turned, right_turned)
    return Plan(Kernel(step.file, kernel, **given), blocks, shared, numbers)


def _add(backend: Any, parts: Array, c: Array, end: Epilogue) -> None:
    """c (batch, M, N) from its parts (batch, splits, M, N)."""
    count, splits, M, N = parts.shape
    kernel = Kernel(
        "matmul_simt.cu", "add_splits", IN=type_of(c), OUT=type_of(c), **end.definitions
    )
    args = [parts, c, *end.arrays, np.int32(M), np.int32(N), np.int64(N), np.int64(M * N)]
    args += [np.int32(count), np.int32(splits)]
    launch(backend, kernel, (-(-c.size // 256),), (256,), args)


def _too_large(count: int, M: int, N: int, K: int) -> ShapeError:
    return ShapeError(
        f"matmul: a product of {count} x {M} x {N} x {K} has a side longer, or more tiles, than a "
        "kernel counts in 32 bits; multiply it in parts."
    )


def _at_pairs(backend: Any, x: Array | None) -> Array | None:
    """x, where kernels can read two numbers of it at a time."""
    return x if x is None or backend.address(x) % 8 == 0 else x.copy()


def _shared(name: str, step: Rung, left_turned: bool, right_turned: bool) -> int:
    """Bytes of dynamic shared memory: the stages of two tiles, as the kernels lay them out."""
    if name in BY_TMA:
        return shared_bytes(name, step.tile, step.k_step)
    if name not in ("mma", "splits"):
        return 0
    (bm, bn), k = step.tile, step.k_step
    a = k * (bm + 8) if left_turned else bm * (k + 8)
    b = bn * (k + 8) if right_turned else k * (bn + 8)
    return 2 * STAGES[name] * (PARTS if name == "splits" else 1) * (a + b)
