"""kernels/embedding.cu: rows by index, and the gradient of the table; integers, so exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from on_simulator import BF16, F16, FLOAT, Array, Format, blocks, numbers, out, run, updated

FILE = "embedding.cu"


def check(
    seed: int,
    n: int,
    rows: int,
    vectors: int,
    format: Format,
    vector: int,
    ids: Array | None = None,
) -> None:
    width = vectors * vector
    rng = np.random.default_rng(seed)
    table = numbers(rng, format, rows, width)
    g = format.encode(rng.integers(-100, 101, (n, width)))
    if ids is None:
        ids = rng.integers(0, rows, n)
        ids[rng.random(n) < 0.5] = rng.integers(0, rows)  # half of the batch is one token
    sizes, fixed = [np.int64(n), np.int32(width)], {"TYPE": format.name, "VECTOR": vector}

    def launch(kernel: str, grid: Any, block: Any, *args: Any) -> list[Array]:
        return run(FILE, kernel, grid, block, args, **fixed)

    taken = out((n, width), format)
    for kernel, grid, block in (
        ("embedding_forward", 2, (32, 8)),
        ("embedding_naive", blocks(n * width, 256), 256),
    ):
        (y,) = launch(kernel, grid, block, taken, table, ids, *sizes)
        assert (y == table[ids]).all()

    truth = np.zeros((rows, width))
    np.add.at(truth, ids, format.decode(g))
    truth = format.round(truth)  # small integers: the sum is exact, and rounded once
    order, chunks = np.argsort(ids, kind="stable"), blocks(n, 32)
    grid, part = (chunks, blocks(width, 32 * vector)), out((chunks, width))
    zeros = format.encode(np.zeros((rows, width)))
    args = [updated(zeros), part, part, g, ids, order, *sizes]
    dtable, head, tail = launch("embedding_backward", grid, 32, *args)
    args = [updated(dtable), head, tail, ids, order, *sizes]
    (dtable,) = launch("embedding_backward_join", grid, 32, *args)
    assert (format.decode(dtable) == truth).all()
    args = [out((rows, width), format), g, ids, np.int64(n), np.int32(rows), np.int32(width)]
    (naive,) = launch("embedding_backward_naive", blocks(rows * width, 256), 256, *args)
    assert (format.decode(naive) == truth).all()


@settings(max_examples=3)
@given(
    seed=st.integers(0, 2**32),
    n=st.sampled_from([1, 31, 32, 33, 64, 97, 200]),
    rows=st.integers(1, 40),
    vectors=st.sampled_from([1, 5, 33]),
)
@pytest.mark.parametrize("format", [FLOAT, BF16], ids=["float", "bf16"])
def test_embedding(seed: int, n: int, rows: int, vectors: int, format: Format) -> None:
    check(seed, n, rows, vectors, format, format.vector)


@pytest.mark.parametrize("format", [FLOAT, BF16, F16], ids=lambda f: f.name)
def test_runs_of_one_token_around_the_edges_of_chunks(format: Format) -> None:
    """Of 32 places in the sorted list: a run begins one before an edge or at it, ends one behind it
    or goes on over two; the last chunk is not full."""
    lengths = [31, 34, 31, 33, 31, 2, 29, 2, 5]
    ids = np.random.default_rng(0).permutation(np.repeat(np.arange(9), lengths))
    check(0, len(ids), 9, 1, format, format.vector, ids)


@pytest.mark.deep
@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 63, 64, 65, 96, 97, 1000])
@pytest.mark.parametrize("rows", [1, 2, 3, 50])
def test_every_edge(n: int, rows: int) -> None:
    for vectors in (1, 31, 32, 33):
        check(n, n, rows, vectors, FLOAT, 1)
