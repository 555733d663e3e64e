"""kernels/swiglu.cu: silu(gate) up and its gradients, of two arrays and of the halves of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from on_simulator import (
    BF16,
    F16,
    FLOAT,
    Array,
    Format,
    Round,
    assert_accurate,
    blocks,
    evaluated,
    numbers,
    out,
    run,
)


def swiglu(gate: Array, up: Array, g: Array, r: Round) -> tuple[Array, Array, Array]:
    s = r(1 / r(1 + r(np.exp(-gate))))
    value = r(gate * s)
    dgate = r(r(g * up) * r(s + r(value * r(1 - s))))
    return r(value * up), dgate, r(g * value)


def check(seed: int, rows: int, columns: int, format: Format, vector: int, halves: bool) -> None:
    rng = np.random.default_rng(seed)
    both, g = numbers(rng, format, rows, 2 * columns), numbers(rng, format, rows, columns)
    gate, up = both[:, :columns], both[:, columns:]
    truth, plain = evaluated(swiglu, format, *(format.decode(a) for a in (gate, up, g)))
    # Memory from the first element of each on: what a back end's `span` gives.
    factors = [both.reshape(-1)[start:] for start in (0, columns)]
    if not halves:
        factors = [format.encode(format.decode(a)) for a in (gate, up)]
    stride = np.int64(2 * columns if halves else columns)
    fixed = {"TYPE": format.name, "VECTOR": vector}
    matrix = out((rows, columns), format)
    tiles = (blocks(columns, 32 * vector), 2), (32, 8), np.int32(rows)
    for rung, (grid, block, count) in {
        "": tiles,
        "_naive": (blocks(g.size, 256), 256, np.int64(g.size)),
    }.items():
        sizes = [count, np.int32(columns), stride]

        def launch(part: str, *args: Any, rung: str = rung, at: Any = (grid, block)) -> list[Array]:
            return run("swiglu.cu", f"swiglu_{part}{rung}", *at, args, **fixed)

        (y,) = launch("forward", matrix, *factors, *sizes)
        found = [y, *launch("backward", matrix, matrix, g, *factors, *sizes)]
        for i, name in enumerate(("y", "dgate", "dup")):
            got = format.decode(found[i])
            assert_accurate(got, truth[i], plain[i], format, f"{name}{rung}")
        (dgate,) = launch("backward", matrix, None, g, *factors, *sizes)
        (dup,) = launch("backward", None, matrix, g, *factors, *sizes)
        assert [dgate.tobytes(), dup.tobytes()] == [a.tobytes() for a in found[1:]]


@settings(max_examples=3)
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 20), vectors=st.sampled_from([1, 31, 33]))
@pytest.mark.parametrize(("format", "halves"), [(FLOAT, True), (BF16, False)])
def test_swiglu(format: Format, halves: bool, seed: int, rows: int, vectors: int) -> None:
    check(seed, rows, vectors * format.vector, format, format.vector, halves)


@pytest.mark.deep
@pytest.mark.parametrize("format", [FLOAT, BF16, F16], ids=lambda f: f.name)
@pytest.mark.parametrize("vectorised", [True, False])
def test_every_edge(format: Format, vectorised: bool) -> None:
    vector = format.vector if vectorised else 1
    for rows, vectors in ((1, 1), (7, 31), (8, 32), (9, 33), (17, 65)):
        for halves in (True, False):
            check(rows, rows, vectors * vector, format, vector, halves)
