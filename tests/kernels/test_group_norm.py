"""kernels/group_norm.cu: group norm and an activation in one, NHWC, forward and backward."""

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

FILE = "group_norm.cu"
EPS = 1e-5


def normalised(x: Array, w: Any, b: Any, *, groups: int, r: Round) -> tuple[Array, ...]:
    """y = silu(u), its slope, mean and rstd."""
    N, P, C = x.shape
    grouped = x.reshape(N, P, groups, C // groups)
    mean = r(grouped.mean((1, 3), keepdims=True))
    centred = r(grouped - mean)
    rstd = r(1 / np.sqrt(r(r(centred * centred).mean((1, 3), keepdims=True)) + EPS))
    u = r(centred * rstd).reshape(x.shape)
    u = u if w is None else r(r(u * w) + b)
    s = r(1 / r(1 + r(np.exp(-u))))
    y = r(u * s)
    return y, r(s + r(y * r(1 - s))), mean.reshape(N, groups), rstd.reshape(N, groups)


def gradients(
    g: Array, slope: Array, x: Array, w: Any, *, groups: int, r: Round
) -> tuple[Array, ...]:
    N, P, C = x.shape
    shape = N, P, groups, C // groups
    _, _, mean, rstd = normalised(x, None, None, groups=groups, r=r)
    mean, rstd = (v.reshape(N, 1, groups, 1) for v in (mean, rstd))
    xhat = r(r(x.reshape(shape) - mean) * rstd)
    gu = r(g * slope)
    h = (gu if w is None else r(gu * w)).reshape(shape)
    projection = r(xhat * r(r(h * xhat).mean((1, 3), keepdims=True)))
    dx = r(r(r(h - r(h.mean((1, 3), keepdims=True))) - projection) * rstd)
    return dx.reshape(x.shape), r(gu * xhat.reshape(x.shape)).sum((0, 1)), gu.sum((0, 1))


def check(
    seed: int, shape: tuple[int, int, int], groups: int, format: Format, vector: int, affine: bool
) -> None:
    N, P, C = shape
    rng = np.random.default_rng(seed)
    x = format.encode(rng.standard_normal(shape) + 2 * rng.standard_normal(C))
    g = numbers(rng, format, *shape)
    w, b = (numbers(rng, format, C), numbers(rng, format, C)) if affine else (None, None)
    fixed = {"TYPE": format.name, "VECTOR": vector, "ACTIVATION": "silu"}
    chunks = min(3, blocks(P, 8))
    grid, sizes = (blocks(C, 32 * vector), chunks, N), [np.int32(P), np.int32(C)]
    tensor, row = out(shape, format), out((N, groups))

    def launch(kernel: str, grid: Any, block: Any, *args: Any) -> list[Array]:
        return run(FILE, f"group_norm_{kernel}", grid, block, args, **fixed)

    (partial,) = launch("sums", grid, (32, 8), out((N, chunks, 2, C)), x, *sizes)
    statistics = [partial, x, np.int32(chunks), *sizes, np.float32(EPS)]
    mean, rstd = launch("statistics", (groups, N), 32, row, row, *statistics)
    args = [tensor, tensor, x, w, b, mean, rstd, *sizes, np.int32(groups)]
    y, slope = launch("apply", grid, (32, 8), *args)
    args = [tensor, tensor, row, row, x, w, b, *sizes, np.int32(groups), np.float32(EPS)]
    naive = launch("naive", N * groups, 256, *args)
    decoded = [v if v is None else format.decode(v) for v in (x, w, b)]
    truth, plain = evaluated(normalised, format, *decoded, groups=groups)
    largest = np.abs(decoded[0]).max()  # which the mean is rounded beside
    weighed = 1 if w is None else np.abs(decoded[1]).max()
    spread = (1 + largest * rstd.max()) * weighed + np.abs(truth[0]).max()
    # The variance is that of x less its first number, which may lie two deviations away.
    outputs = (format.decode(y), spread), (format.decode(slope), spread), (mean, largest)
    for i, (got, scale) in enumerate((*outputs, (rstd, 5 * truth[3].max()))):
        assert_accurate(got, truth[i], plain[i], format, f"output {i}", scale)
    for i, what in ((0, "naive y"), (1, "naive slope")):
        assert_accurate(format.decode(naive[i]), truth[i], plain[i], format, what, spread)

    args = [out((N, chunks, 2, C)), g, slope, x, mean, *sizes, np.int32(groups)]
    (partial,) = launch("backward_sums", grid, (32, 8), *args)
    args = [out((N, 2, groups)), out((N, C)), out((N, C)), partial, w, rstd, np.int32(chunks)]
    projection, dw, db = launch("projection", (groups, N), 32, *args, *sizes)
    args = [tensor, g, slope, x, w, mean, rstd, projection, *sizes, np.int32(groups)]
    (dx,) = launch("backward_apply", grid, (32, 8), *args)
    args = [tensor, out((N, C)), out((N, C)), g, slope, x, w, mean, rstd, *sizes, np.int32(groups)]
    naive = launch("backward_naive", N * groups, 256, *args)
    decoded = [v if v is None else format.decode(v) for v in (g, slope, x, w)]
    truth, plain = evaluated(gradients, format, *decoded, groups=groups)
    terms = np.abs(decoded[0] * decoded[1])
    scale = terms.sum((0, 1)).max() * 4  # xhat is hardly ever larger
    scales = 9 * rstd.max() * weighed, scale, scale
    for rung, found in (("", (dx, dw, db)), ("naive ", naive)):
        results = format.decode(found[0]), found[1].sum(0), found[2].sum(0)
        for i, (got, what) in enumerate(zip(results, ("dx", "dw", "db"), strict=True)):
            assert_accurate(got, truth[i], plain[i], format, rung + what, scales[i])


@settings(max_examples=2)
@given(
    seed=st.integers(0, 2**32),
    N=st.integers(1, 3),
    P=st.sampled_from([1, 2, 7, 8, 9, 25, 33]),
    groups=st.sampled_from([1, 2, 6]),
    size=st.sampled_from([4, 12, 28]),
)
@pytest.mark.parametrize("config", [(FLOAT, 4), (BF16, 4)], ids=["float", "bf16"])
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
def test_group_norm(
    seed: int, N: int, P: int, groups: int, size: int, config: Any, affine: bool
) -> None:
    check(seed, (N, P, groups * size), groups, *config, affine)


@pytest.mark.deep
@pytest.mark.parametrize("config", [(FLOAT, 1), (FLOAT, 4), (BF16, 8), (F16, 2)])
@pytest.mark.parametrize("positions", [1, 8, 23, 24, 25, 100])
def test_every_edge(config: Any, positions: int) -> None:
    format, vector = config
    for vectors in (1, 31, 32, 33, 65):
        C = vectors * vector
        for groups in {g for g in (1, 3, 5, 11, C) if C % g == 0}:
            check(C, (2, positions, C), groups, format, vector, bool(groups % 2))
