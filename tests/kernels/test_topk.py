"""kernels/topk.cu: the k largest of rows and their places, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from on_simulator import BF16, F16, FLOAT, Array, Format, blocks, run
from on_simulator import Output as Out

SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, -np.nan, 1e-30, -1e-30]


def drawn(seed: int, rows: int, n: int, format: Format, steps: float) -> Array:
    """`steps` is the distance of neighbouring numbers: a large one makes many of them equal."""
    rng = np.random.default_rng(seed)
    x = np.round(rng.standard_normal((rows, n)) / steps) * steps
    put = rng.random((rows, n)) < 0.05
    x[put] = rng.choice(SPECIAL, put.sum())
    return format.encode(x)


def check(x: Array, k: int, format: Format) -> None:
    rows, n = x.shape
    # NaN last and equals in order, in the mirror: a stable sort of what is to come last.
    wide = format.decode(x)[:, ::-1]
    wanted = n - 1 - np.argsort(wide, axis=-1, kind="stable")[:, ::-1][:, :k]
    outputs = [Out((rows, k), format.storage), Out((rows, k), "int64")]
    sizes = [np.int32(n), np.int32(k)]
    for kernel, grid, block, args in (
        ("topk_select", rows, 1024, [*outputs, x, *sizes]),
        ("topk_select_naive", blocks(rows, 32), 32, [*outputs, x, np.int32(rows), *sizes]),
    ):
        values, places = run("topk.cu", kernel, grid, block, args, TYPE=format.name)
        assert (places == wanted).all(), kernel
        assert values.tobytes() == np.take_along_axis(x, places, -1).tobytes(), kernel


@settings(max_examples=4)
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(1, 2),
    n=st.sampled_from([1, 2, 50, 1023, 1025]),
    part=st.floats(0, 1),
    steps=st.sampled_from([1e-3, 0.5, 100]),
)
@pytest.mark.parametrize("format", [FLOAT, BF16], ids=lambda f: f.name)
def test_the_largest(
    format: Format, seed: int, rows: int, n: int, part: float, steps: float
) -> None:
    check(drawn(seed, rows, n, format, steps), max(1, min(40, int(part * n))), format)


def test_nan_in_the_first_place_and_nothing_but_equals() -> None:
    x = np.zeros((3, 40), np.float32)
    x[0, 0], x[1] = np.nan, np.nan
    check(x, 5, FLOAT)


@pytest.mark.deep
@pytest.mark.parametrize("format", [FLOAT, BF16, F16], ids=lambda f: f.name)
@pytest.mark.parametrize("n", [1, 3, 255, 257, 1024, 2047, 2048, 2049, 5000])
@pytest.mark.parametrize("steps", [1e-3, 0.25, 100])
def test_every_edge(format: Format, n: int, steps: float) -> None:
    for k in {1, 2, 3, 8, 31, 33, 63, n - 1, n} & set(range(1, min(n, 64) + 1)):
        check(drawn(k, 3, n, format, steps), k, format)
    most = min(n, 2048)  # what the network sorts; k passes of the naive rung would take minutes
    x = drawn(n, 1, n, format, steps)
    args = [Out((1, most), format.storage), Out((1, most), "int64"), x, np.int32(n), np.int32(most)]
    _, places = run("topk.cu", "topk_select", 1, 1024, args, TYPE=format.name)
    order = np.argsort(format.decode(x)[:, ::-1], axis=-1, kind="stable")[:, ::-1]
    assert (places == (n - 1 - order)[:, :most]).all()
