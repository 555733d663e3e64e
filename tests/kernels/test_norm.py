"""kernels/norm.cu: layer norm and RMS norm, forward and backward, with a residual."""

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

EPS = 1e-5


def normalised(x: Array, w: Any, b: Any, *, centred: bool, r: Round) -> tuple[Array, ...]:
    mean = r(x.mean(-1, keepdims=True)) if centred else np.zeros_like(x[:, :1])
    centred_x = r(x - mean)
    rstd = r(1 / np.sqrt(r(r(centred_x * centred_x).mean(-1, keepdims=True)) + EPS))
    y = r(centred_x * rstd)
    y = y if w is None else r(y * w)
    return (y if b is None else r(y + b)), mean[:, 0], rstd[:, 0]


def gradients(
    g: Array, x: Array, w: Any, past: Any, *, centred: bool, r: Round
) -> tuple[Array, ...]:
    _, mean, rstd = normalised(x, None, None, centred=centred, r=r)
    xhat = r(r(x - mean[:, None]) * rstd[:, None])
    h = g if w is None else r(g * w)
    projection = r(xhat * r(r(h * xhat).mean(-1, keepdims=True)))
    dx = r(h - r(h.mean(-1, keepdims=True))) if centred else h
    dx = r(r(dx - projection) * rstd[:, None])
    return (dx if past is None else r(dx + past)), r(g * xhat).sum(0), g.sum(0)


def check(
    seed: int, rows: int, config: tuple[Format, int, int, int], *, centred: bool, optional: bool
) -> None:
    format, columns, threads, vector = config
    rng = np.random.default_rng(seed)
    x, residual, g, past = (numbers(rng, format, rows, columns, scale=2) for _ in range(4))
    w, b = (numbers(rng, format, columns) for _ in range(2))
    x[0] = format.encode(4 + rng.standard_normal(columns))  # the mean outweighs the rest
    given_w, given_b, given_residual, given_past = (
        (w, b if centred else None, residual, past) if optional else (None,) * 4
    )
    fixed = {"TYPE": format.name, "COLUMNS": columns, "THREADS": threads, "VECTOR": vector}
    block = (threads, 4 if threads == 32 else 1)
    grid = min(3, blocks(rows, block[1]))
    name = "layer_norm" if centred else "rms_norm"
    y_out, row = out((rows, columns), format), out(rows)
    total = y_out if optional else None
    mean_out, bias = ([row], [given_b]) if centred else ([], [])
    head = [y_out, total, *mean_out, row]
    tail = [np.int32(rows), np.float32(EPS)]
    found = run(
        "norm.cu", f"{name}_forward", grid, block,
        [*head, x, given_residual, given_w, *bias, *tail], **fixed,
    )  # fmt: skip
    y, rstd = found[0], found[-1]
    if optional:
        wide = format.decode(x) + format.decode(residual)
        assert (format.decode(found[1]) == format.round(wide)).all()
        x = found[1]
    decoded = [a if a is None else format.decode(a) for a in (x, given_w, given_b)]
    truth, plain = evaluated(normalised, format, *decoded, centred=centred)
    assert_accurate(format.decode(y), truth[0], plain[0], format, "y")
    assert_accurate(rstd, truth[2], plain[2], format, "rstd")
    mean = found[-2] if centred else None
    if mean is not None:
        assert_accurate(mean, truth[1], plain[1], format, "mean")

    # the same row by the kernel for long rows
    long = [y_out, *mean_out, row, x, given_w, *bias, np.int32(columns), np.float32(EPS)]
    y = run("norm.cu", f"{name}_long", rows, 256, long, **fixed)[0]
    assert_accurate(format.decode(y), truth[0], plain[0], format, "y of a long row")

    sums = [out((grid, columns))] * (2 if centred else 1)
    stats = [mean, rstd] if centred else [rstd]
    found = run(
        "norm.cu", f"{name}_backward", grid, block,
        [y_out, *sums, g, x, given_w, *stats, given_past, np.int32(rows)], **fixed,
    )  # fmt: skip
    decoded = [a if a is None else format.decode(a) for a in (g, x, given_w, given_past)]
    truth, plain = evaluated(gradients, format, *decoded, centred=centred)
    assert_accurate(format.decode(found[0]), truth[0], plain[0], format, "dx")
    xhat = evaluated(normalised, format, decoded[1], None, None, centred=centred)[0][0]
    scales = np.abs(decoded[0] * xhat).sum(0).max(), np.abs(decoded[0]).sum(0).max()
    for i, partial in enumerate(found[1:], 1):
        got = finished(partial, format)
        assert_accurate(got, truth[i], plain[i], format, f"sum {i}", scales[i - 1])
    if not optional:
        long = [y_out, g, x, None, *stats, np.int32(columns)]
        dx = run("norm.cu", f"{name}_backward_long", rows, 256, long, **fixed)[0]
        assert_accurate(format.decode(dx), truth[0], plain[0], format, "dx of a long row")
    slices = (blocks(columns, 32), 2)
    weights = [out((2, columns)), out((2, columns)), g, x, mean, rstd]
    found = run(
        "norm.cu", "norm_weights_partial", slices, (32, 32),
        [*weights, np.int32(rows), np.int32(columns)], **fixed,
    )  # fmt: skip
    for i, got in enumerate(found, 1):
        what = f"sum {i} of long rows"
        assert_accurate(got.sum(0), truth[i], plain[i], format, what, scales[i - 1])


def finished(partial: Array, format: Format) -> Array:
    """The second stage: the sums of the columns."""
    slices, columns = partial.shape
    sizes = [np.int32(slices), np.int32(columns)]
    args = [out(columns, format), partial, *sizes]
    (sums,) = run(
        "column_sums.cu", "column_sums_finish", blocks(columns, 32), (32, 32), args,
        TYPE=format.name,
    )  # fmt: skip
    return format.decode(sums)


# (type, columns, threads along a row, elements an access): a row that leaves lanes idle, a full one
# over two warps, one with an element more than a block has threads
CONFIGS = [(FLOAT, 44, 32, 4), (BF16, 512, 64, 8), (FLOAT, 1025, 1024, 1)]
MANY = [
    *[(FLOAT, n, 32, 1) for n in (1, 2, 31, 32, 33, 63, 65, 97)],
    *[(FLOAT, n, 32, 4) for n in (4, 124, 128, 132, 512)],
    *[(FLOAT, n, 96, 4) for n in (380, 384, 388, 1536)],
    *[(BF16, n, 32, 8) for n in (8, 248, 256, 264)],
    *[(F16, n, 64, 2) for n in (2, 126, 128, 130)],
    (BF16, 1600, 224, 8),
]


@settings(max_examples=2)
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 13))
@pytest.mark.parametrize("config", CONFIGS, ids=["float", "bf16", "wide"])
@pytest.mark.parametrize(("centred", "optional"), [(True, True), (True, False), (False, True)])
def test_norms(seed: int, rows: int, config: Any, centred: bool, optional: bool) -> None:
    check(seed, rows, config, centred=centred, optional=optional)


@pytest.mark.deep
@pytest.mark.parametrize("config", MANY, ids=lambda c: f"{c[0].name}-{'-'.join(map(str, c[1:]))}")
@pytest.mark.parametrize("centred", [True, False], ids=["layer", "rms"])
def test_norms_at_every_edge(config: Any, centred: bool) -> None:
    for rows in (1, 3, 4, 5, 8, 9):
        check(rows, rows, config, centred=centred, optional=bool(rows % 2))


def check_naive(seed: int, rows: int, format: Format, *, centred: bool) -> None:
    columns, name = 44, "layer_norm" if centred else "rms_norm"
    fixed = {"TYPE": format.name, "COLUMNS": columns, "THREADS": 32, "VECTOR": 4}
    rng = np.random.default_rng(seed)
    x, g = (numbers(rng, format, rows, columns) for _ in range(2))
    w, b = (numbers(rng, format, columns) for _ in range(2))
    bias, row = b if centred else None, [out(rows)] * (1 + centred)
    y_out, sizes = out((rows, columns), format), [np.int32(rows), np.int32(columns)]
    args = [y_out, *row, x, w, *([bias] if centred else []), *sizes, np.float32(EPS)]
    y, *stats = run("norm.cu", f"{name}_naive", blocks(rows, 32), 32, args, **fixed)
    decoded = [a if a is None else format.decode(a) for a in (x, w, bias)]
    truth, plain = evaluated(normalised, format, *decoded, centred=centred)
    assert_accurate(format.decode(y), truth[0], plain[0], format, "y")
    args = [y_out, g, x, w, *stats, *sizes]
    (dx,) = run("norm.cu", f"{name}_backward_naive", blocks(rows, 32), 32, args, **fixed)
    decoded = [format.decode(a) for a in (g, x, w)]
    truth, plain = evaluated(gradients, format, *decoded, None, centred=centred)
    assert_accurate(format.decode(dx), truth[0], plain[0], format, "dx")


@settings(max_examples=3)
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 40))
@pytest.mark.parametrize(("format", "centred"), [(FLOAT, True), (BF16, False)])
def test_the_naive_rung(format: Format, centred: bool, seed: int, rows: int) -> None:
    check_naive(seed, rows, format, centred=centred)


@pytest.mark.deep
@pytest.mark.parametrize("format", [FLOAT, BF16, F16], ids=lambda f: f.name)
@pytest.mark.parametrize("centred", [True, False], ids=["layer", "rms"])
def test_the_naive_rung_at_every_edge(format: Format, centred: bool) -> None:
    for rows in (1, 31, 32, 33):
        check_naive(rows, rows, format, centred=centred)
