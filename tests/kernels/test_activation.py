"""kernels/activation.cu and gelu.cuh: activations, alone and after a bias."""

from __future__ import annotations

from math import erfc, pi, sqrt

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
    numbers,
    out,
    run,
)

FILE = "activation.cu"
EXTREMES = (-np.inf, -1e30, -150, -88.5, -20, -13.5, -10.05, -5, -0.0, 1e-3, 10, 80, 1e30, np.inf)
NAMES = ("relu", "silu", "gelu", "gelu_tanh")


def exact(u: Array, name: str) -> tuple[Array, Array]:
    """The activation and its derivative in float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        if name == "relu":
            return np.maximum(u, 0), (u > 0).astype(float)
        if name == "gelu":
            near = np.clip(u, -40, 40)
            cdf = np.array([erfc(-v / sqrt(2)) / 2 for v in near.ravel()]).reshape(u.shape)
            slope = cdf + near * np.exp(-near * near / 2) / sqrt(2 * pi)
            return np.where(u > 40, u, near * cdf), slope
        inner, inner_slope = u, np.ones_like(u)
        if name == "gelu_tanh":
            near = np.clip(u, -1e3, 1e3)
            inner = sqrt(8 / pi) * near * (1 + 0.044715 * near * near)
            inner_slope = sqrt(8 / pi) * (1 + 3 * 0.044715 * near * near)
        s = 1 / (1 + np.exp(-np.clip(inner, -700, 700)))
        near = np.clip(u, -700, 700)
        slope = s + near * s * (1 - s) * inner_slope
        return np.where(u > 700, u, near * s), np.where(u > 700, 1, slope)


def assert_relative(got: Array, truth: Array, format: Format, what: str) -> None:
    """Within some roundings of every number: more in the tails, where an exponential multiplies
    the error of its argument by that argument. Or below what the type can hold."""
    equal = got == truth  # infinities among them
    error = np.abs(np.where(equal, 0, got.astype(np.float64)) - np.where(equal, 0, truth))
    size = np.where(np.isfinite(truth), np.abs(truth), 0)
    argument = np.abs(np.log(np.maximum(size, 1e-45)))
    bound = (2 * format.unit + (40 + 4 * argument) * FLOAT.unit) * size + 3 * format.least
    assert (equal | (error <= bound)).all(), f"{what}: {got[~(equal | (error <= bound))][:4]}"


def check(seed: int, n: int, format: Format, name: str, vector: int) -> None:
    rng = np.random.default_rng(seed)
    u = numbers(rng, format, n * vector, scale=4)
    kept = min(u.size, len(EXTREMES))
    u[:kept] = format.encode(np.asarray(EXTREMES[:kept]))
    fixed = {"TYPE": format.name, "VECTOR": vector, "ACTIVATION": name}
    args = [out(u.size, format), out(u.size, format), u, np.int64(u.size)]
    truth = exact(format.decode(u).astype(float), name)
    for kernel, grid in (("activation_forward", 2), ("activation_naive", blocks(u.size, 256))):
        h, slope = run(FILE, kernel, grid, 256, args, **fixed)
        assert_relative(format.decode(h), truth[0], format, f"{kernel} {name}")
        # A derivative may cross zero, where it is the difference of larger numbers.
        crossed = np.abs(truth[1]) < 0.05
        got = np.where(crossed, truth[1], format.decode(slope))
        assert_relative(got, truth[1], format, f"slope of {kernel} {name}")
        error = np.abs(format.decode(slope) - truth[1])[crossed]
        assert (error < 1e-6 + format.unit).all()


def biased(x: Array, bias: Array, r: Round) -> tuple[Array]:
    return (r(x + bias),)


def check_bias(seed: int, rows: int, vectors: int, format: Format, name: str, vector: int) -> None:
    rng = np.random.default_rng(seed)
    columns = vectors * vector
    x, g = (numbers(rng, format, rows, columns) for _ in range(2))
    bias = numbers(rng, format, columns)
    fixed = {"TYPE": format.name, "VECTOR": vector, "ACTIVATION": name}
    grid, sizes = (blocks(columns, 32 * vector), 2), [np.int32(rows), np.int32(columns)]
    matrix = out((rows, columns), format)
    args = [matrix, matrix, x, bias, *sizes]
    h, u = run(FILE, "bias_activation_forward", grid, (32, 8), args, **fixed)
    args = [matrix, matrix, x, bias, np.int64(x.size), np.int32(columns)]
    h_naive, u_naive = run(FILE, "bias_activation_naive", blocks(x.size, 256), 256, args, **fixed)
    wide = format.decode(u).astype(float)
    assert (wide == format.round(format.decode(x) + format.decode(bias))).all()
    assert (wide == format.decode(u_naive)).all()
    value, slope = exact(wide, name)
    for got in (h, h_naive):
        assert_accurate(format.decode(got), value, format.round(value), format, "h")

    args = [matrix, out((2, columns)), g, u, *sizes]
    du, partial = run(FILE, "bias_activation_backward", grid, (32, 8), args, **fixed)
    truth = format.decode(g) * slope
    assert_accurate(format.decode(du), truth, format.round(truth), format, "du")
    kept = [matrix, out((2, columns)), g, format.encode(slope), *sizes]
    again, _ = run(FILE, "bias_slope_backward", grid, (32, 8), kept, **fixed)
    wanted = format.round(format.decode(g) * format.round(slope))
    assert (format.decode(again) == wanted).all()
    stored = format.decode(du).astype(float)
    scale = np.abs(stored).sum(0).max()
    error = np.abs(partial.astype(float).sum(0) - stored.sum(0)).max()
    assert error <= 4 * FLOAT.unit * scale


@settings(max_examples=3)
@given(
    seed=st.integers(0, 2**32), n=st.integers(1, 700), rows=st.integers(1, 20),
    vectors=st.sampled_from([1, 31, 33]),
)  # fmt: skip
@pytest.mark.parametrize(("format", "name"), [(FLOAT, "gelu"), (BF16, "gelu_tanh")])
def test_activations(format: Format, name: str, seed: int, n: int, rows: int, vectors: int) -> None:
    check(seed, n, format, name, format.vector)
    check_bias(seed, rows, vectors, format, name, format.vector)


@pytest.mark.deep
@pytest.mark.parametrize("format", [FLOAT, BF16, F16], ids=lambda f: f.name)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("vectorised", [True, False])
def test_every_activation(format: Format, name: str, vectorised: bool) -> None:
    vector = format.vector if vectorised else 1
    for n in (1, 13, 255, 256, 257, 513):
        check(n, n, format, name, vector)
    for rows, vectors in ((1, 1), (7, 31), (8, 32), (9, 33), (17, 65)):
        check_bias(rows, rows, vectors, format, name, vector)
