"""What of a launch is the wgmma rung's alone: the windows that TMA moves, and its shared memory."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tinygen.backend.device.matmul_parts import PARTS
from tinygen.backend.device.matmul_rungs import Matrix

Array = Any

STAGES = {"wgmma": 4, "wgmma_parts": 2}
CONSUMER_WARPS = 8
SLAB = 64
"""Rows and columns of what the copies of factors are made of."""
OUT_SLAB = (16, 128)
"""Rows, and bytes of each, of C that a warp has copied at a time; it has two of these."""
WIDTHS = (256, 192, 128)
"""Columns that its tile may have."""
STEP_US, COLUMN_US = 0.09, 2.42e-3
"""Microseconds of a step along K, and what each column adds to it (an H100, all blocks at work)."""
END_US, END_COLUMN_US = 0.6, 4e-3
"""The same of a tile's end."""
PARTS_US, PARTS_GB = 4.0, 2500.0
"""Microseconds to launch the kernel that adds the parts of a split product, and the GB a second at
which it does so."""


@lru_cache(4096)
def shape_of_work(
    blocks: int, count: int, M: int, N: int, steps: int, splits: range
) -> tuple[int, int]:
    """(columns of a tile, parts of K) that take least time on a device that runs so many `blocks`
    at once: every one of these multiplies the same number of tiles, but for those of the last
    round, which leaves the others idle."""

    def cost(choice: tuple[int, int]) -> float:
        width, parts = choice
        rounds = -(-(-(-M // 128) * -(-N // width) * count * parts) // blocks)
        product = -(-steps // parts) * (STEP_US + COLUMN_US * width)
        added = PARTS_US + 1e-3 * (8 * parts + 2) * count * M * N / PARTS_GB if parts > 1 else 0.0
        return rounds * (product + END_US + END_COLUMN_US * width) + added

    return min(((width, parts) for width in WIDTHS for parts in splits), key=cost)


def can_stage(product: Array, slope: Array | None, *, gradient: bool) -> bool:
    """Whether TMA stores C: its rows are multiples of 16 bytes, and a warp's second slab has one
    use at most, the slope or the sums over rows."""
    whole = product.shape[-1] * product.itemsize % 16 == 0
    return whole and not (gradient and slope is not None)


def windows(
    backend: Any,
    left: Matrix,
    right: Matrix,
    product: Array,
    slope: Array | None,
    tile: tuple[int, int],
    *,
    staged: bool,
) -> list[Any]:
    """The tensor maps of A, B, C and the slope. Of the latter two a map of C or, where TMA stores
    nothing, of A stands for what the kernel does not read."""
    a, b = _factor(backend, left, tile[0]), _factor(backend, right, tile[1], turned=True)
    if not staged:
        return [a, b, a, a]
    rows, size = OUT_SLAB
    c, derivative = (
        backend.tensor_map(x.reshape(-1, *x.shape[-2:]), (1, rows, size // x.itemsize))
        for x in (product, product if slope is None else slope)
    )
    return [a, b, c, derivative]


def _factor(backend: Any, x: Matrix, tile: int, *, turned: bool = False) -> Any:
    """How TMA copies a factor: whole rows of 64 of k, or slabs of 64 of k by 64 across it. B's rows
    run along k where it is transposed, A's where it is not."""
    lines = x.array.swapaxes(1, 2) if x.transposed else x.array
    along_k = x.transposed == turned
    return backend.tensor_map(lines, (1, tile if along_k else SLAB, SLAB))


def shared_bytes(rung: str, tile: tuple[int, int], k_step: int) -> int:
    """The ring of factors' tiles, the slabs of C, two barriers a stage."""
    rows, size = OUT_SLAB
    parts = PARTS if rung == "wgmma_parts" else 1
    stage = parts * 2 * sum(tile) * k_step + 2 * 8
    return STAGES[rung] * stage + CONSUMER_WARPS * 2 * rows * size
