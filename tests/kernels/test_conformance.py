"""Each function of tensor_core.cuh and hopper.cuh against what the PTX ISA says, on random
registers: on the simulator its CPU body, on a GPU (TINYGEN_TEST_DEVICE=cuda:0) its instruction.

The numbers are small integers, whose products and sums are exact in any order, so that every
comparison is by bits.
"""

import os
from typing import Any

import numpy as np
import pytest

from tinygen.backend import backend_named
from tinygen.backend.launch import Kernel, launch

DEVICE = os.environ.get("TINYGEN_TEST_DEVICE", "sim")
BACKEND: Any = backend_named(DEVICE)
pytestmark = pytest.mark.skipif(not BACKEND.launches, reason="no compiler or NVIDIA's headers")
hopper = pytest.mark.skipif(BACKEND.compute_capability != 90, reason="no Hopper")

MOST = 64 * 1024
Array = np.ndarray[Any, Any]


@pytest.fixture(autouse=True)
def _checking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGEN_SIM_CHECK", "1")


def run(name: str, block: int, *args: Any, shared: int = 0) -> None:
    file = "conformance_mma.cu" if name in MMA else "conformance_hopper.cu"
    launch(BACKEND, Kernel(file, name), (1,), (block,), args, shared)


MMA = {f"conform_{n}" for n in ("load_matrix", "mma_bf16", "mma_f16", "copy_async", "conversions")}


def to_bits(x: Array, kind: str) -> Array:
    """Small integers as the 16 bits of their type; exact in both."""
    if kind == "f16":
        return x.astype(np.float16).view(np.uint16)
    return (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def integers(rng: np.random.Generator, *shape: int) -> Array:
    return rng.integers(-8, 9, shape)


def here(x: Array) -> Any:
    return BACKEND.asarray(np.ascontiguousarray(x))


def paired(low: Array, high: Array) -> Array:
    return low.astype(np.uint32) | high.astype(np.uint32) << 16


# ---- tensor_core.cuh -----------------------------------------------------------------------------


def test_ldmatrix() -> None:
    tile = np.random.default_rng(0).integers(0, 2**16, (32, 8)).astype(np.uint16)
    out = BACKEND.empty((32, 12), np.uint32)
    run("conform_load_matrix", 32, out, here(tile))
    matrices = tile.reshape(4, 8, 8)
    g, t = np.arange(32) // 4, np.arange(32) % 4
    plain = [paired(m[g, 2 * t], m[g, 2 * t + 1]) for m in matrices]
    turned = [paired(m[2 * t, g], m[2 * t + 1, g]) for m in matrices]
    wanted = np.stack([*plain, *turned, *plain[:2], *turned[:2]], axis=1)
    np.testing.assert_array_equal(BACKEND.to_numpy(out), wanted)


def left_fragments(a: Array, kind: str) -> Array:
    """A (16, 16) as the four registers of each lane."""
    bits, g, t = to_bits(a, kind), np.arange(32) // 4, np.arange(32) % 4
    places = [(g, 2 * t), (g + 8, 2 * t), (g, 2 * t + 8), (g + 8, 2 * t + 8)]
    return np.stack([paired(bits[r, c], bits[r, c + 1]) for r, c in places], axis=1)


def result_places(columns: int) -> tuple[Array, Array]:
    """Row and column of each accumulator of each lane, of 16 rows."""
    lane, e = np.arange(32)[:, None], np.arange(columns // 2)[None]
    return lane // 4 + e // 2 % 2 * 8, e // 4 * 8 + lane % 4 * 2 + e % 2


@pytest.mark.parametrize("kind", ["bf16", "f16"])
def test_mma(kind: str) -> None:
    rng = np.random.default_rng(1)
    a, b, c = integers(rng, 16, 16), integers(rng, 16, 8), integers(rng, 16, 8)
    bits, g, t = to_bits(b, kind), np.arange(32) // 4, np.arange(32) % 4
    right = [paired(bits[2 * t + k, g], bits[2 * t + k + 1, g]) for k in (0, 8)]
    places = result_places(8)
    d = BACKEND.empty((32, 4), np.float32)
    factors = [here(left_fragments(a, kind)), here(np.stack(right, axis=1))]
    run(f"conform_mma_{kind}", 32, d, *factors, here(c[places].astype(np.float32)))
    np.testing.assert_array_equal(BACKEND.to_numpy(d), (a @ b + c)[places])


def test_cp_async() -> None:
    data = np.random.default_rng(2).integers(0, 2**32, (64, 4)).astype(np.uint32)
    out = BACKEND.empty((64, 4), np.uint32)
    run("conform_copy_async", 32, out, here(data))
    wanted = data * (np.arange(64)[:, None] % 2 == 0)
    np.testing.assert_array_equal(BACKEND.to_numpy(out), wanted)


def test_conversions_round_to_nearest_and_ties_to_even() -> None:
    rng = np.random.default_rng(3)
    x = (rng.standard_normal(32) * 10.0 ** rng.integers(-3, 4, 32)).astype(np.float32)
    x[:4] = [1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-11, 1 + 3 * 2.0**-11]  # ties
    out, pairs = BACKEND.empty((64,), np.float32), BACKEND.empty((64,), np.uint32)
    run("conform_conversions", 32, out, pairs, here(x))
    whole = x.view(np.uint32).astype(np.uint64)
    upper = ((whole + 0x7FFF + (whole >> 16 & 1)) >> 16).astype(np.uint16)
    half = x.astype(np.float16)
    values = np.concatenate([(upper.astype(np.uint32) << 16).view(np.float32), half])
    np.testing.assert_array_equal(BACKEND.to_numpy(out), values)
    wanted = [paired(bits, np.roll(bits, -1)) for bits in (upper, half.view(np.uint16))]
    np.testing.assert_array_equal(BACKEND.to_numpy(pairs), np.concatenate(wanted))


# ---- hopper.cuh: copies --------------------------------------------------------------------------


def swizzled(tile: Array) -> Array:
    """Bytes of a tile with rows of 128, as TMA's 128-byte swizzle lays them out."""
    place = np.arange(tile.size)
    out = np.empty_like(tile)
    out[place ^ (place >> 7 & 7) << 4] = tile
    return out


def box_of(array: Array, at: tuple[int, ...], box: tuple[int, ...]) -> Array:
    """The box at `at` (slowest axis first), zeros outside the array."""
    padded = np.pad(array, [(n, n + size) for n, size in zip(box, array.shape, strict=True)])
    return padded[tuple(slice(i + n, i + 2 * n) for i, n in zip(at, box, strict=True))]


BOXES = [
    ((40, 96), (8, 64), (3, 16), 128),
    ((40, 72), (16, 64), (-5, 40), 128),  # over two edges
    ((40, 96), (8, 24), (36, -8), 0),
    ((3, 20, 80), (2, 8, 64), (2, 15, 24), 128),
    ((3, 20, 80), (1, 16, 64), (1, -3, 0), 128),
    ((2, 3, 12, 64), (1, 2, 8, 64), (1, 2, 7, 0), 128),
]


@hopper
@pytest.mark.parametrize(("shape", "box", "at", "swizzle"), BOXES)
def test_tma_loads(shape: Any, box: Any, at: Any, swizzle: int) -> None:
    array = np.random.default_rng(4).integers(0, 2**16, shape).astype(np.uint16)
    tile = np.ascontiguousarray(box_of(array, at, box)).reshape(-1).view(np.uint8)
    wanted = swizzled(tile) if swizzle else tile
    out = BACKEND.empty((tile.size,), np.uint8)
    place = [np.int32(i) for i in (*reversed(at), 0, 0)[:4]]
    tensor_map = BACKEND.tensor_map(here(array), box, swizzle)
    size = np.int32(tile.size)
    run(f"conform_tma_load_{len(shape)}d", 64, out, tensor_map, *place, size, shared=MOST + 8)
    np.testing.assert_array_equal(BACKEND.to_numpy(out), wanted)


STORES = [
    ((40, 96), (8, 64), (3, 16), 128),
    ((40, 72), (16, 64), (30, 40), 128),  # over two edges
    ((40, 96), (8, 24), (36, 80), 0),
    ((3, 20, 80), (2, 8, 64), (2, 15, 24), 128),
    ((3, 20, 80), (1, 16, 64), (1, 12, 0), 128),
]


@hopper
@pytest.mark.parametrize(("shape", "box", "at", "swizzle"), STORES)
def test_tma_stores(shape: Any, box: Any, at: Any, swizzle: int) -> None:
    rng = np.random.default_rng(5)
    array = rng.integers(0, 2**16, shape).astype(np.uint16)
    values = rng.integers(0, 2**16, box).astype(np.uint16)
    tile = values.reshape(-1).view(np.uint8)
    held = here(array)
    place = [np.int32(i) for i in (*reversed(at), 0)[:3]]
    given = here(swizzled(tile) if swizzle else tile)
    tensor_map = BACKEND.tensor_map(held, box, swizzle)
    size = np.int32(tile.size)
    run(f"conform_tma_store_{len(shape)}d", 64, tensor_map, given, *place, size, shared=MOST)
    for index in np.ndindex(*box):
        target = tuple(np.add(at, index))
        if all(0 <= i < n for i, n in zip(target, shape, strict=True)):
            array[target] = values[index]
    np.testing.assert_array_equal(BACKEND.to_numpy(held), array)


# ---- hopper.cuh: products ------------------------------------------------------------------------


def laid_out(factor: Array, kind: str, *, transposed: bool) -> Array:
    """A factor (lines of M or N, 32 of K) as its bytes lie in shared memory, K-major or transposed;
    a K-major row holds 64 of K, of which the last 32 are not read."""
    bits = to_bits(factor, kind)
    if not transposed:
        rows = np.full((len(bits), 64), 0x7FC0, np.uint16)
        rows[:, :32] = bits
        return swizzled(rows.reshape(-1).view(np.uint8))
    slabs = []
    for first in range(0, len(bits), 64):
        slab = np.full((64, 64), 0x7FC0, np.uint16)  # rows of K, of which 32 are read
        slab[:32] = bits[first : first + 64].T
        slabs.append(swizzled(slab.reshape(-1).view(np.uint8)))
    return np.concatenate(slabs)


def of_threads(matrix: Array) -> Array:
    """(64, N) as the accumulators of 128 threads."""
    row, column = result_places(matrix.shape[1])
    return np.concatenate([matrix[row + 16 * warp, column] for warp in range(4)])


@hopper
@pytest.mark.parametrize(
    ("N", "kind", "turned_a", "turned_b"),
    [
        (64, "bf16", 0, 0),
        (64, "f16", 1, 0),
        (128, "bf16", 0, 1),
        (128, "f16", 1, 1),
        (192, "f16", 0, 0),
        (192, "bf16", 1, 1),
        (256, "bf16", 0, 0),
        (256, "f16", 0, 1),
    ],
)
def test_wgmma(N: int, kind: str, turned_a: int, turned_b: int) -> None:
    rng = np.random.default_rng(6)
    a, b, c = integers(rng, 64, 32), integers(rng, N, 32), integers(rng, 64, N)
    left = laid_out(a, kind, transposed=bool(turned_a))
    factors = np.concatenate([left, laid_out(b, kind, transposed=bool(turned_b))])
    assert left.size == 8192
    d = BACKEND.empty((128, N // 2), np.float32)
    name = f"conform_wgmma_{N}_{kind}_{turned_a}{turned_b}"
    size = np.int32(factors.size)
    start = here(of_threads(c).astype(np.float32))
    run(name, 128, d, here(factors), start, size, shared=factors.size)
    np.testing.assert_array_equal(BACKEND.to_numpy(d), of_threads(a @ b.T + c))


@hopper
@pytest.mark.parametrize(
    ("N", "kind", "turned"), [(64, "bf16", 0), (128, "f16", 1), (256, "bf16", 1)]
)
def test_wgmma_with_a_factor_in_registers(N: int, kind: str, turned: int) -> None:
    rng = np.random.default_rng(7)
    a, b = integers(rng, 64, 32), integers(rng, N, 32)
    steps = [
        np.concatenate(
            [left_fragments(a[16 * w : 16 * w + 16, k : k + 16], kind) for w in range(4)]
        )
        for k in (0, 16)
    ]
    factors = np.concatenate([np.zeros(8192, np.uint8), laid_out(b, kind, transposed=bool(turned))])
    d = BACKEND.empty((128, N // 2), np.float32)
    name, size = f"conform_wgmma_registers_{N}_{kind}_{turned}", np.int32(factors.size)
    registers = here(np.concatenate(steps, axis=1))
    run(name, 128, d, registers, here(factors), size, shared=factors.size)
    np.testing.assert_array_equal(BACKEND.to_numpy(d), of_threads(a @ b.T))


@hopper
def test_named_barriers_and_phases() -> None:
    out = BACKEND.empty((36,), np.int32)
    run("conform_barriers", 64, out)
    wanted = [*(3 * (31 - np.arange(32)) + 1), *range(100, 104)]
    np.testing.assert_array_equal(BACKEND.to_numpy(out), wanted)
