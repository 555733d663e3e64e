"""kernels/softmax.cu: softmax and log-softmax of rows, forward and backward."""

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


def probabilities(x: Array, r: Round) -> tuple[Array]:
    e = r(np.exp(r(x - x.max(-1, keepdims=True))))
    return (r(e / r(e.sum(-1, keepdims=True))),)


def logarithms(x: Array, r: Round) -> tuple[Array]:
    below = r(x - x.max(-1, keepdims=True))
    return (r(below - r(np.log(r(r(np.exp(below)).sum(-1, keepdims=True))))),)


def gradient(g: Array, y: Array, r: Round) -> tuple[Array]:
    return (r(y * r(g - r(r(g * y).sum(-1, keepdims=True)))),)


def log_gradient(g: Array, y: Array, r: Round) -> tuple[Array]:
    return (r(g - r(r(np.exp(y)) * r(g.sum(-1, keepdims=True)))),)


FORMULAS = {"softmax": (probabilities, gradient), "log_softmax": (logarithms, log_gradient)}


def check(seed: int, rows: int, config: tuple[Format, int, int, int], name: str) -> None:
    format, columns, threads, vector = config
    rng = np.random.default_rng(seed)
    x, g = numbers(rng, format, rows, columns, scale=4), numbers(rng, format, rows, columns)
    x[0] = format.encode(format.decode(x[0]) - 200)  # all of it far below 0
    fixed = {"TYPE": format.name, "COLUMNS": columns, "THREADS": threads, "VECTOR": vector}
    block = (threads, 4 if threads == 32 else 1)
    grid = min(3, blocks(rows, block[1]))
    y_out, long = out((rows, columns), format), np.int32(columns)
    forward, backward = FORMULAS[name]

    def launch(kernel: str, grid: int, block: Any, *args: Any) -> Array:
        return run("softmax.cu", kernel, grid, block, [y_out, *args], **fixed)[0]

    def naive(kernel: str, *args: Any) -> list[Array]:
        """Of short rows: a thread adds one in turn, NumPy, by which errors are judged, in pairs."""
        if columns > 400:
            return []
        return [launch(kernel, blocks(rows, 32), 32, *args, np.int32(rows), long)]

    truth, plain = evaluated(forward, format, format.decode(x))
    y = launch(f"{name}_forward", grid, block, x, np.int32(rows))
    found = [y, launch(f"{name}_online", rows, 256, x, long), *naive(f"{name}_naive", x)]
    for got in found:
        assert_accurate(format.decode(got), truth[0], plain[0], format, name)

    truth, plain = evaluated(backward, format, format.decode(g), format.decode(y))
    found = [
        launch(f"{name}_backward", grid, block, g, y, np.int32(rows)),
        launch(f"{name}_backward_long", rows, 256, g, y, long),
        *naive(f"{name}_backward_naive", g, y),
    ]
    for got in found:
        slopes, values = np.abs(format.decode(g)), format.decode(y)
        largest = (values if name == "softmax" else np.exp(values)).max(-1)
        scale = (slopes.sum(-1) * largest).max() + slopes.max()  # of the terms, which may cancel
        assert_accurate(format.decode(got), truth[0], plain[0], format, name, scale)


# (type, columns, threads along a row, elements an access): a row that leaves lanes idle at the
# end, one over two warps, one of as many threads as a block has, one with an element too many
CONFIGS = [(FLOAT, 160, 32, 4), (BF16, 264, 64, 8), (FLOAT, 1024, 1024, 1), (FLOAT, 33, 32, 1)]
MANY = [
    *[(FLOAT, n, 32, 1) for n in (1, 2, 31, 32, 33, 65)],
    *[(FLOAT, n, 96, 4) for n in (4, 380, 384, 388, 1540)],
    *[(BF16, n, 32, 8) for n in (8, 248, 256, 264)],
    *[(F16, n, 64, 2) for n in (2, 126, 128, 130)],
]


@settings(max_examples=2)
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 13))
@pytest.mark.parametrize("config", CONFIGS, ids=["float", "bf16", "wide", "odd"])
@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_softmaxes(seed: int, rows: int, config: Any, name: str) -> None:
    check(seed, rows, config, name)


@pytest.mark.deep
@pytest.mark.parametrize("config", MANY, ids=lambda c: f"{c[0].name}-{'-'.join(map(str, c[1:]))}")
@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_softmaxes_at_every_edge(config: Any, name: str) -> None:
    for rows in (1, 3, 4, 5, 9):
        check(rows, rows, config, name)


SMALL = {"TYPE": "float", "COLUMNS": 44, "THREADS": 32, "VECTOR": 4}


RUNGS: dict[str, tuple[Any, Any]] = {
    # threads of a block, and how many blocks n rows take
    "naive": (32, lambda n: blocks(n, 32)),
    "online": (256, lambda n: n),
    "forward": ((32, 4), lambda n: blocks(n, 8)),
    "forward, two warps": ((64, 1), lambda n: blocks(n, 3)),
}


def forward(rung: str, x: Array) -> list[Array]:
    """softmax and log-softmax of rows of 44."""
    block, grid = RUNGS[rung]
    n, (rung, _, several) = len(x), rung.partition(",")
    fixed = {**SMALL, "THREADS": 64, "VECTOR": 1} if several else SMALL
    sizes = {"naive": [n, 44], "online": [44], "forward": [n]}[rung]
    args = [out(x.shape), x, *map(np.int32, sizes)]
    names = (f"{name}_{rung}" for name in ("softmax", "log_softmax"))
    return [run("softmax.cu", name, grid(n), block, args, **fixed)[0] for name in names]


@pytest.mark.parametrize("rung", RUNGS)
def test_rows_without_a_distribution_and_certain_ones(rung: str) -> None:
    """NaN, +inf and nothing but -inf give NaN; log softmax of a certain class keeps its digits."""
    x = np.zeros((48, 44), np.float32)
    x[:44][np.eye(44, dtype=bool)] = np.nan
    x[44, 7], x[45], x[46, 5:] = np.inf, -np.inf, -np.inf
    x[47] = -18
    x[47, 3] = 0
    y, logs = forward(rung, x)
    assert np.isnan(y[:46]).all()
    assert (y[46, 5:] == 0).all()
    assert abs(y[46].sum() - 1) < 1e-6
    assert np.isnan(logs[:44]).all()
    assert np.isnan(logs[44, 7])
    assert np.isneginf(np.delete(logs[44], 7)).all()
    assert np.isneginf(logs[46, 5:]).all()
    certain = -np.log1p(43 * np.exp(-18.0))
    assert abs(logs[47, 3] / certain - 1) < 1e-5


@pytest.mark.parametrize("rung", RUNGS)
def test_the_largest_stands_anywhere_and_more_than_once(rung: str) -> None:
    """All others are so far below that their exponentials are 0."""
    row, column = np.ogrid[:44, :44]
    ahead = (column - row) % 44
    largest = (ahead % 15 == 0) & (ahead <= row % 3 * 15)
    y, logs = forward(rung, np.where(largest, 0, -200).astype(np.float32))
    equal = largest.sum(-1, keepdims=True)
    assert set(equal.ravel()) == {1, 2, 3}
    np.testing.assert_allclose(y, largest / equal, rtol=1e-6, atol=0)
    np.testing.assert_allclose(logs, np.where(largest, 0, -200) - np.log(equal), 1e-6, 1e-30)
