"""What each fast kernel moves, counted in sectors of 32 bytes: what its comment promises, and
hardly more. A kernel that waits for memory is as fast as it moves little.

Small extras are allowed, for statistics, weights and indices: a seventh of the whole. An access
that is not coalesced, or a second pass over an array, is several times that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from on_simulator import BF16, DEVICE, FLOAT, Format, compiled, out, run, updated
from on_simulator import Output as Out

from tinygen.backend import backend_named
from tinygen.backend.device.matmul import matmul
from tinygen.backend.launch import Kernel, observed

pytestmark = pytest.mark.skipif(DEVICE != "sim", reason="a GPU counts nothing")

SECTOR = 32
EXTRA = 8 / 7
ROWS, COLUMNS = 24, 768


def moved(file: str, kernel: str, grid: Any, block: Any, args: Any, **fixed: Any) -> list[int]:
    """Bytes read and written in global memory, by whole sectors."""
    run(file, kernel, grid, block, args, **fixed)
    counters = compiled(file, tuple(sorted(fixed.items()))).counters
    return [SECTOR * counters.total("global", kind).transactions for kind in ("read", "write")]


def matrix(format: Format, *shape: int) -> Any:
    return format.encode(np.random.default_rng(0).standard_normal(shape or (ROWS, COLUMNS)))


def promised(format: Format, reads: float, writes: float) -> list[float]:
    """Bytes of so many passes over a matrix."""
    bytes_of = ROWS * COLUMNS * format.encode(0).itemsize
    return [reads * bytes_of, writes * bytes_of]


def rows_of(format: Format) -> dict[str, Any]:
    """Rows in registers: a team that leaves no thread idle."""
    threads, vector = (96, 8) if format is BF16 else (64, 4)
    return {"TYPE": format.name, "COLUMNS": COLUMNS, "THREADS": threads, "VECTOR": vector}


def assert_as_promised(found: list[int], wanted: list[float]) -> None:
    for got, least in zip(found, wanted, strict=True):
        assert least <= got <= EXTRA * least, f"{found} bytes read and written, for {wanted}"


FORMATS = pytest.mark.parametrize(
    "format", [pytest.param(FLOAT, marks=pytest.mark.deep), BF16], ids=lambda f: f.name
)


@pytest.mark.parametrize("more", ["", "slope and residual", "scale and sums", "splits"])
def test_tiles_of_a_product_leave_in_whole_sectors(
    monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    """Two of 128 x 128, by TMA, and nobody waits for a bank of the shared memory that they pass."""
    monkeypatch.setenv("TINYGEN_SIM_CHECK", "1")
    sim: Any = backend_named("sim")
    M, N, K = 256, 128, 64 * (2 if more == "splits" else 1)
    x, w, past = (sim.asarray(np.ones(shape, "float16")) for shape in ((M, K), (N, K), (M, N)))
    options: dict[str, dict[str, Any]] = {
        "slope and residual": {"residual": past, "activation": "gelu", "with_slope": True},
        "scale and sums": {"scale": past, "with_sums": True},
        "splits": {"splits": 2},
    }
    launched: list[Kernel] = []
    with observed(lambda _, kernel: launched.append(kernel)):
        matmul(sim, x, w.T, rung="wgmma", **{"splits": 1, **options.get(more, {})})
    assert launched[0].name == "matmul_wgmma"
    counters = sim.module(launched[0]).counters
    stored = counters.total("global", "write")
    wanted = {"slope and residual": 4, "scale and sums": 2 + 4 / 128, "splits": 8}.get(more, 2)
    assert SECTOR * stored.transactions == stored.bytes == wanted * M * N
    assert counters.total("shared", "write").excess == 1


@FORMATS
def test_norm(format: Format) -> None:
    fixed = rows_of(format)
    block = (fixed["THREADS"], 1)
    x, w, row = matrix(format), matrix(format, COLUMNS), np.ones(ROWS, np.float32)
    y, tail = out(x.shape, format), [np.int32(ROWS), np.float32(1e-5)]
    args = [y, None, out(ROWS), out(ROWS), x, None, w, w, *tail]
    found = moved("norm.cu", "layer_norm_forward", 2, block, args, **fixed)
    weights = 4 / ROWS  # weight and bias, once for each of the two blocks
    assert_as_promised(found, promised(format, 1 + weights, 1))

    args = [y, y, out(ROWS), out(ROWS), x, x, w, w, *tail]
    found = moved("norm.cu", "layer_norm_forward", 2, block, args, **fixed)
    assert_as_promised(found, promised(format, 2 + weights, 2))

    sums = out((1, COLUMNS))
    args = [y, sums, sums, x, x, w, row, row, None, np.int32(ROWS)]
    found = moved("norm.cu", "layer_norm_backward", 1, block, args, **fixed)
    partial = 2 * 4 / x.itemsize / ROWS  # a row of floats for each of the two sums
    assert_as_promised(found, promised(format, 2 + 1 / ROWS, 1 + partial))


def test_norm_of_a_thread_a_row_moves_many_times_as_much() -> None:
    x, fixed = matrix(FLOAT), {"TYPE": "float", "COLUMNS": 44, "THREADS": 32, "VECTOR": 4}
    sizes = [np.int32(ROWS), np.int32(COLUMNS), np.float32(1e-5)]
    args = [out(x.shape), out(ROWS), out(ROWS), x, None, None, *sizes]
    read, written = moved("norm.cu", "layer_norm_naive", 1, 32, args, **fixed)
    once = x.nbytes
    assert read > 3 * 7 * once  # three passes, a sector for every float
    assert written > 7 * once


@FORMATS
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(format: Format, name: str) -> None:
    fixed = rows_of(format)
    block, x, y = (fixed["THREADS"], 1), matrix(format), out((ROWS, COLUMNS), format)
    found = moved("softmax.cu", f"{name}_forward", 2, block, [y, x, np.int32(ROWS)], **fixed)
    assert_as_promised(found, promised(format, 1, 1))
    args = [y, x, np.int32(COLUMNS)]
    found = moved("softmax.cu", f"{name}_online", ROWS, 256, args, **fixed)
    assert_as_promised(found, promised(format, 2, 1))
    found = moved("softmax.cu", f"{name}_backward", 2, block, [y, x, x, np.int32(ROWS)], **fixed)
    assert_as_promised(found, promised(format, 2, 1))


@FORMATS
def test_cross_entropy(format: Format) -> None:
    x, targets = matrix(format), np.arange(ROWS)
    options = [np.float32(0), np.float32(0), np.int64(-1)]
    args = [out(ROWS, format), updated(x), targets, np.int32(COLUMNS), np.float32(1), *options]
    fixed = {"TYPE": format.name, "VECTOR": format.vector}
    read, written = moved("cross_entropy.cu", "cross_entropy_in_place", ROWS, 256, args, **fixed)
    small = ROWS * 8 * 4 * SECTOR  # target and its logit by each of 8 warps, and the loss
    wanted = promised(format, 2, 1)
    assert wanted[0] <= read <= wanted[0] + small
    assert wanted[1] <= written <= wanted[1] + small


@FORMATS
def test_activation(format: Format) -> None:
    fixed = {"TYPE": format.name, "VECTOR": format.vector, "ACTIVATION": "gelu_tanh"}
    if format is FLOAT:
        fixed["ACTIVATION"] = "gelu"
    x, y = matrix(format), out((ROWS, COLUMNS), format)
    args = [y, y, x, np.int64(x.size)]
    found = moved("activation.cu", "activation_forward", 2, 256, args, **fixed)
    assert_as_promised(found, promised(format, 1, 2))
    across = COLUMNS // (32 * format.vector)
    sizes = [np.int32(ROWS), np.int32(COLUMNS)]
    args = [y, y, x, matrix(format, COLUMNS), *sizes]
    found = moved("activation.cu", "bias_activation_forward", (across, 1), (32, 8), args, **fixed)
    assert_as_promised(found, promised(format, 1 + 8 / ROWS, 2))  # the bias by each of 8 warps
    args = [y, out((1, COLUMNS)), x, x, *sizes]
    found = moved("activation.cu", "bias_activation_backward", (across, 1), (32, 8), args, **fixed)
    partial = 4 / x.itemsize / ROWS * format.vector  # the sums of a block, 4 bytes an access
    wanted = promised(format, 2, 1)
    assert found[0] == wanted[0]
    assert found[1] <= wanted[1] + promised(format, 0, partial)[1]


@pytest.mark.parametrize(("name", "each"), [("random_uniform", 8), ("random_normal", 16)])
def test_random(name: str, each: int) -> None:
    n = 2 * 256 * each
    ends = [np.float32(v) for v in (0, 1, 0, 1)] if name == "random_uniform" else []
    args = [out(n), np.ones(6, np.uint64), np.int64(n), *ends]
    _, written = moved("random.cu", name, 2, 256, args)
    assert written == 4 * n
    assert compiled("random.cu", ()).counters.total("shared").excess == 1


def test_adamw() -> None:
    p, copy = matrix(FLOAT), out((ROWS, COLUMNS))
    state, betas = np.ones(8, np.float32), [np.float32(0.9), np.float32(0.99)]
    args = [updated(p), copy, updated(p), updated(p), p, state, np.int64(p.size), *betas]
    found = moved("adamw.cu", "adamw_update", 2, 256, args, TYPE="float")
    assert_as_promised(found, promised(FLOAT, 4, 4))
    args = [out(2), p, np.int64(p.size)]
    read, _ = moved("adamw.cu", "grad_norm_partial", 2, 256, args, TYPE="float")
    assert read == p.nbytes


def test_embedding() -> None:
    g, table = matrix(FLOAT), matrix(FLOAT, 5, COLUMNS)
    ids = np.random.default_rng(0).integers(0, 5, ROWS)
    fixed = {"TYPE": "float", "VECTOR": 4}
    size = [np.int64(ROWS), np.int32(COLUMNS)]
    args = [out(g.shape), table, ids, *size]
    found = moved("embedding.cu", "embedding_forward", 2, (32, 8), args, **fixed)
    assert_as_promised(found, promised(FLOAT, 1, 1))
    part = out((1, COLUMNS))
    args = [updated(table), part, part, g, ids, np.argsort(ids, kind="stable"), *size]
    grid = (1, COLUMNS // 128)
    read, written = moved("embedding.cu", "embedding_backward", grid, 32, args, **fixed)
    assert_as_promised([read], promised(FLOAT, 1, 1)[:1])
    assert written == table.nbytes


def test_rope_dropout_and_casts() -> None:
    x, y = matrix(FLOAT), out((ROWS, COLUMNS))
    angles = matrix(FLOAT, 1, COLUMNS // 2)
    args = [y, x, angles, angles, np.int64(ROWS), np.int32(1), np.int32(COLUMNS // 2)]
    fixed = {"TYPE": "float", "VECTOR": 4, "INTERLEAVED": 0}
    found = moved("rope.cu", "rope_rotate", 2, 256, [*args, np.float32(1)], **fixed)
    assert_as_promised(found, promised(FLOAT, 2, 1))  # the angles, read once a row from the cache

    args = [y, None, x, np.ones(6, np.uint64), np.int64(x.size), np.float32(0), np.float32(1)]
    found = moved("dropout.cu", "dropout", 9, 256, args, TYPE="float")
    state = 9 * 8 * 6 * SECTOR  # read by each warp, word by word
    assert found == [x.nbytes + state, x.nbytes]

    fixed = {"IN": "float", "OUT": "bf16"}
    args = [out(x.shape, BF16), x, np.int64(x.size)]
    assert moved("cast.cu", "cast", 2, 256, args, **fixed) == promised(FLOAT, 1, 0.5)
    x = matrix(FLOAT, 64, 96)
    args = [out((96, 64), BF16), x, np.int32(64), np.int32(96)]
    found = moved("cast.cu", "transpose", 6, (32, 8), args, **fixed)
    assert found == [x.nbytes, x.nbytes // 2]
    shared = compiled("cast.cu", tuple(sorted(fixed.items()))).counters.total("shared")
    assert shared.excess == 1, "a column of the tile is read from one bank"
    _, written = moved("cast.cu", "transpose_naive", 6, (32, 8), args, **fixed)
    assert written >= 8 * x.nbytes


@FORMATS
def test_group_norm(format: Format) -> None:
    shape = 1, ROWS, COLUMNS
    x, y = matrix(format, *shape), out(shape, format)
    fixed = {"TYPE": format.name, "VECTOR": format.vector, "ACTIVATION": "silu"}
    across = COLUMNS // (32 * format.vector)
    sizes = [np.int32(ROWS), np.int32(COLUMNS)]
    args = [out((1, 1, 2, COLUMNS)), x, *sizes]
    read, _ = moved("group_norm.cu", "group_norm_sums", (across, 1, 1), (32, 8), args, **fixed)
    assert_as_promised([read], promised(format, 1 + 8 / ROWS, 0)[:1])  # the first row by 8 warps
    row = Out((1, 32), "float32", np.ones((1, 32), np.float32)).fresh()
    args = [y, None, x, None, None, row, row, *sizes, np.int32(32)]
    found = moved("group_norm.cu", "group_norm_apply", (across, 1, 1), (32, 8), args, **fixed)
    statistics = promised(format, 1, 1)
    assert statistics[0] <= found[0] <= 2 * statistics[0]  # few rows here, for many statistics
    assert found[1] == statistics[1]
