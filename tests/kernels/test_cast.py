"""kernels/cast.cu and column_sums.cu: conversion, transposition and sums, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from on_simulator import BF16, F16, FLOAT, Format, blocks, numbers, out, run

PAIRS = [(FLOAT, BF16), (BF16, FLOAT), (FLOAT, F16), (F16, FLOAT), (FLOAT, FLOAT)]


def check_cast(seed: int, n: int, source: Format, target: Format) -> None:
    x = numbers(np.random.default_rng(seed), source, n, scale=300)
    special = np.array([np.inf, -np.inf, -0.0, 65520, 1 + 2.0**-8, 1 + 3 * 2.0**-8])
    x[: len(special)] = source.encode(special)[:n]
    wanted = target.encode(source.decode(x)).tobytes()
    fixed = {"IN": source.name, "OUT": target.name}
    for vector in (1, 4):
        for kernel, grid in (("cast", 2), ("cast_naive", blocks(n, 256))):
            args = [out(n, target), x, np.int64(n)]
            (y,) = run("cast.cu", kernel, grid, 256, args, VECTOR=vector, **fixed)
            assert y.tobytes() == wanted


def check_transpose(
    seed: int, batch: int, rows: int, columns: int, source: Format, target: Format
) -> None:
    x = numbers(np.random.default_rng(seed), source, batch, rows, columns)
    wanted = target.encode(source.decode(x).swapaxes(1, 2)).tobytes()
    grid = batch * blocks(columns, 32) * blocks(rows, 32)
    for kernel in ("transpose", "transpose_naive"):
        args = [out((batch, columns, rows), target), x, np.int32(rows), np.int32(columns)]
        (y,) = run("cast.cu", kernel, grid, (32, 8), args, IN=source.name, OUT=target.name)
        assert y.tobytes() == wanted


@settings(max_examples=6)
@given(
    seed=st.integers(0, 2**32), n=st.integers(1, 3000),
    batch=st.integers(1, 3), rows=st.sampled_from([1, 7, 31, 33, 65]),
    columns=st.sampled_from([1, 8, 32, 33, 70]),
)  # fmt: skip
def test_casts(seed: int, n: int, batch: int, rows: int, columns: int) -> None:
    check_cast(seed, n, *PAIRS[0])
    check_transpose(seed, batch, rows, columns, *PAIRS[0])


@pytest.mark.deep
@pytest.mark.parametrize("pair", PAIRS, ids=lambda p: f"{p[0].name}-{p[1].name}")
def test_every_cast(pair: tuple[Format, Format]) -> None:
    for n in (1, 2, 3, 4, 5, 1023, 1024, 1025, 2049):
        check_cast(n, n, *pair)
    for rows in (1, 31, 32, 33, 64):
        for columns in (1, 31, 32, 33, 65):
            check_transpose(rows, 2, rows, columns, *pair)


@settings(max_examples=6)
@given(
    seed=st.integers(0, 2**32), rows=st.integers(1, 150), columns=st.sampled_from([1, 31, 32, 70]),
    slices=st.integers(1, 4),
)  # fmt: skip
@pytest.mark.parametrize("format", [FLOAT, BF16, F16], ids=lambda f: f.name)
def test_column_sums(format: Format, seed: int, rows: int, columns: int, slices: int) -> None:
    """Of integers, in any order the same; rounded once."""
    x = format.encode(np.random.default_rng(seed).integers(-50, 51, (rows, columns)))
    sizes, fixed = [np.int32(rows), np.int32(columns)], {"TYPE": format.name}
    args = [out(columns, format), x, *sizes]
    (naive,) = run("column_sums.cu", "column_sums_naive", blocks(columns, 256), 256, args, **fixed)
    grid = blocks(columns, 32), slices
    args = [out((slices, columns)), x, *sizes]
    (partial,) = run("column_sums.cu", "column_sums_partial", grid, (32, 32), args, **fixed)
    args = [out(columns, format), partial, np.int32(slices), np.int32(columns)]
    (sums,) = run("column_sums.cu", "column_sums_finish", grid[0], (32, 32), args, **fixed)
    wanted = format.encode(format.decode(x).sum(0)).tobytes()
    assert naive.tobytes() == wanted
    assert sums.tobytes() == wanted
