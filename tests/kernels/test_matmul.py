"""kernels/matmul_*.cu: every rung, layout, epilogue and split, around the edges of its tiles, with
every check of the simulator on."""

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from on_simulator import BF16

import tinygen as tg
from tinygen import autograd
from tinygen.backend import backend_named
from tinygen.backend.device.matmul import matmul
from tinygen.backend.device.matmul_rungs import RUNGS
from tinygen.backend.launch import Kernel, launch
from tinygen.errors import ShapeError, UsageError
from tinygen.tensor import Tensor

DEVICE = os.environ.get("TINYGEN_TEST_DEVICE", "sim")
SIM: Any = backend_named(DEVICE)
pytestmark = pytest.mark.skipif(not SIM.launches, reason="no compiler or NVIDIA's headers")

LAYOUTS = [(a, b) for a in (False, True) for b in (False, True)]
OF_A_LINEAR_LAYER = [(False, True), (False, False), (True, False)]


@pytest.fixture(autouse=True)
def _checking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGEN_SIM_CHECK", "1")


def stored(x: np.ndarray[Any, Any], transposed: bool, spare: int = 0) -> Any:
    """x on the device, in rows of memory along its last axis, or its last but one; `spare` elements
    stand between them."""
    x = np.swapaxes(x, -1, -2) if transposed else x
    wide = np.full((*x.shape[:-1], x.shape[-1] + spare), np.nan, x.dtype)
    wide[..., : x.shape[-1]] = x
    held = SIM.asarray(wide)[..., : x.shape[-1]]
    return held.swapaxes(-1, -2) if transposed else held


def whole_numbers(rng: np.random.Generator, *shape: int, dtype: str) -> np.ndarray[Any, Any]:
    return rng.integers(-4, 5, shape).astype(dtype)


BY_PARTS = ("splits", "wgmma_parts")
"""Rungs that multiply float32 numbers as sums of bfloat16 ones."""


def dtype_of(rung: str) -> str:
    return "float16" if RUNGS[rung].bits == 16 else "float32"


def check_exact(
    rung: str, M: int, N: int, K: int, transposed: tuple[bool, bool], splits: int, batch: int = 1
) -> None:
    """Whole numbers in, exactly their products out, whatever the order of the sums."""
    dtype, rng = dtype_of(rung), np.random.default_rng(M * N + K)
    a = whole_numbers(rng, batch, M, K, dtype=dtype)
    b = whole_numbers(rng, batch, K, N, dtype=dtype)
    lengths = M if transposed[0] else K, K if transposed[1] else N  # of the factors' rows
    aligned = RUNGS[rung].aligned == 8
    spare = [-n % 8 if aligned else 3 for n in lengths]
    left, right = (stored(x, t, s) for x, t, s in zip((a, b), transposed, spare, strict=True))
    c, slope, _ = matmul(SIM, left, right, rung=rung, splits=splits)
    assert slope is None
    np.testing.assert_array_equal(SIM.to_numpy(c), a.astype("float64") @ b.astype("float64"))


@pytest.mark.parametrize("transposed", OF_A_LINEAR_LAYER)
@pytest.mark.parametrize("rung", RUNGS)
def test_whole_numbers_in_every_layout(rung: str, transposed: tuple[bool, bool]) -> None:
    tile_m, tile_n = RUNGS[rung].tile
    check_exact(rung, tile_m + 1, tile_n - 1, 37, transposed, splits=1)
    check_exact(rung, 5, tile_n, 70, transposed, splits=2, batch=2)


@pytest.mark.parametrize("rung", RUNGS)
def test_a_part_of_a_split_product_may_be_empty(rung: str) -> None:
    """Four times, with steps between that go round wgmma's ring."""
    check_exact(rung, 3, 8, 3 * RUNGS[rung].k_step + 6, (False, True), splits=5, batch=4)


def test_the_widest_tiles_and_more_than_one_of_each_block() -> None:
    check_exact("wgmma", 130, 300, 130, (False, True), splits=1)
    check_exact("wgmma", 130, 304, 130, (False, True), splits=1)  # rows that TMA stores
    check_exact("wgmma", 130, 300, 330, (False, True), splits=2)


@pytest.mark.deep
@pytest.mark.parametrize("transposed", LAYOUTS)
def test_the_widest_tiles_in_every_layout(transposed: tuple[bool, bool]) -> None:
    check_exact("wgmma", 130, 300, 330, transposed, splits=2)


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 130, 3), (130, 1, 9), (3, 5, 0), (16, 16, 65)])
@pytest.mark.parametrize("rung", RUNGS)
def test_sizes_around_the_edges(rung: str, size: tuple[int, int, int]) -> None:
    check_exact(rung, *size, (False, True), splits=1)


@pytest.mark.deep
@given(
    st.sampled_from(list(RUNGS)), st.integers(1, 270), st.integers(1, 270), st.integers(0, 140),
    st.sampled_from(LAYOUTS), st.integers(1, 4), st.integers(1, 2),
)  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_whole_numbers_of_any_size(
    rung: str, M: int, N: int, K: int, transposed: tuple[bool, bool], splits: int, batch: int
) -> None:
    check_exact(rung, M, N, K, transposed, splits, batch)


@pytest.mark.parametrize("transposed", OF_A_LINEAR_LAYER)
def test_bfloat16_has_at_most_twice_the_error_of_a_plain_computation(
    transposed: tuple[bool, bool],
) -> None:
    """Which NumPy has no type of, so that the kernel is launched on its bits."""
    M, N, K = 130, 72, 88
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype("float32") for shape in ((M, K), (K, N)))
    a, b = BF16.round(a), BF16.round(b)
    bits, rows = [], []
    for x, turned in zip((a, b), transposed, strict=True):
        lines = BF16.encode(x.T if turned else x)
        lines = np.pad(lines, ((0, 0), (0, -lines.shape[1] % 8)))
        bits.append(SIM.asarray(lines))
        rows.append(lines.shape[1])
    layout = {f"TRANSPOSE_{x}": int(turned) for x, turned in zip("AB", transposed, strict=True)}
    kernel = Kernel("matmul_mma.cu", "matmul_mma", IN="bf16", OUT="bf16", **layout)
    c = SIM.empty((M, N), np.uint16)
    sizes = [np.int32(n) for n in (M, N, K)]
    strides = [np.int64(n) for n in (*rows, N, 0, 0, 0)]
    args = [*bits, c, *[None] * 5, *sizes, *strides, np.int32(1)]
    launch(SIM, kernel, (2,), (256,), args, 2 * 3 * 2 * 128 * 40)
    truth = a.astype("float64") @ b.astype("float64")
    error = np.abs(BF16.decode(SIM.to_numpy(c)) - truth).max()
    plain = np.abs(BF16.round(a @ b) - truth).max()
    assert error <= 2 * plain


@pytest.mark.parametrize("activation", ["identity", "relu", "silu", "gelu", "gelu_tanh"])
@pytest.mark.parametrize("splits", [1, 3])
def test_epilogues(activation: str, splits: int) -> None:
    rng = np.random.default_rng(3)
    x, w, b, r = (
        rng.standard_normal(shape).astype("float32") for shape in ((9, 40), (40, 7), (7,), (9, 7))
    )
    on_device = [SIM.asarray(array) for array in (x, w)]
    c, slope, _ = matmul(
        SIM, *on_device, bias=SIM.asarray(b), residual=SIM.asarray(r), activation=activation,
        with_slope=True, splits=splits,
    )  # fmt: skip
    u = Tensor(x.astype("float64") @ w + b, requires_grad=True)
    name = None if activation == "identity" else activation.partition("_")[0]
    options = {"approximate": "tanh"} if activation == "gelu_tanh" else {}
    y = u if name is None else getattr(tg.ops, name)(u, **options)
    (derivative,) = autograd.grad([y.sum()], [u])
    np.testing.assert_allclose(SIM.to_numpy(c), y.detach().numpy() + r, atol=2e-5)
    np.testing.assert_allclose(SIM.to_numpy(slope), derivative.numpy(), atol=2e-5)


@pytest.mark.parametrize("activation", [None, "gelu"])
def test_a_linear_layer_is_three_launches(activation: str | None) -> None:
    rng = np.random.default_rng(4)
    arrays = [rng.standard_normal(shape) for shape in ((3, 5, 12), (20, 12), (20,))]
    g = rng.standard_normal((3, 5, 20))
    found = []
    for device, dtype in [("cpu", "float64"), (DEVICE, "float32")]:
        leaves = [Tensor(tg.tensor(a, dtype, device).data, requires_grad=True) for a in arrays]
        y = tg.ops.linear(*leaves, activation)
        assert type(y.node).__name__ == ("Linear" if dtype == "float32" else type(y.node).__name__)
        gradients = autograd.grad([y], leaves, [tg.tensor(g, dtype, device).data])
        found.append([t.numpy() for t in (y, *gradients)])
    for exact, value in zip(*found, strict=True):
        np.testing.assert_allclose(value, exact, atol=3e-5)


@pytest.mark.parametrize("sizes", [(0, 4, 3), (4, 0, 3), (4, 3, 0), (1, 1, 1)])
def test_a_linear_layer_of_nothing(sizes: tuple[int, int, int]) -> None:
    rows, into, out = sizes
    rng = np.random.default_rng(6)
    arrays = [rng.standard_normal(shape) for shape in ((rows, into), (out, into), (out,))]
    found = []
    for device, dtype in [("cpu", "float64"), (DEVICE, "float32")]:
        leaves = [Tensor(tg.tensor(a, dtype, device).data, requires_grad=True) for a in arrays]
        y = tg.ops.linear(*leaves, "gelu")
        gradients = autograd.grad([y.sum()], leaves)
        found.append([t.numpy() for t in (y, *gradients)])
    for exact, value in zip(*found, strict=True):
        assert value.shape == exact.shape
        np.testing.assert_allclose(value, exact, atol=3e-6)


def magnitudes(rng: np.random.Generator, kind: str, *shape: int) -> np.ndarray[Any, Any]:
    """Normal numbers; over sixty orders of magnitude; or all but cancelling: 1 and little more."""
    x = rng.standard_normal(shape)
    if kind == "wide":
        x = x * 10.0 ** rng.uniform(-15, 15, shape)
    if kind == "cancelling":
        x = np.where(rng.random(shape) < 0.5, 1.0, -1.0) * (1 + 1e-4 * x)
    return x.astype("float32")


@pytest.mark.parametrize("rung", BY_PARTS)
@pytest.mark.parametrize("kind", ["normal", "wide", "cancelling"])
@pytest.mark.parametrize("transposed", OF_A_LINEAR_LAYER)
def test_split_numbers_multiply_to_the_accuracy_of_float32(
    kind: str, transposed: tuple[bool, bool], rung: str
) -> None:
    """|C - A B| <= (K/16 + 8) 2^-24 |A||B|: a rounding for each step along K, two for the products
    of parts that are left out and six for those that are added; plain float32 has K of them."""
    M, N, K = 70, 60, 180
    rng = np.random.default_rng(10)
    a, b = magnitudes(rng, kind, M, K), magnitudes(rng, kind, K, N)
    left, right = (stored(x, t) for x, t in zip((a, b), transposed, strict=True))
    c = SIM.to_numpy(matmul(SIM, left, right, rung=rung, splits=1).c)
    a, b = a.astype("float64"), b.astype("float64")
    error, scale = np.abs(c - a @ b), np.abs(a) @ np.abs(b)
    assert (error <= (K / 16 + 8) * 2.0**-24 * scale).all()


@pytest.mark.parametrize("rung", BY_PARTS)
def test_splitting_numbers_at_the_ends_of_float32(rung: str) -> None:
    largest, least = np.finfo("float32").max, np.finfo("float32").smallest_subnormal
    ends = np.array([largest, -largest, 3.39e38, 2.0**-100, 1.1754944e-38, least, 0], "float32")
    a = np.diag(ends)
    c = SIM.to_numpy(matmul(SIM, *(SIM.asarray(x) for x in (a, np.eye(7, dtype="float32"))),
                            rung=rung).c)  # fmt: skip
    np.testing.assert_allclose(np.diag(c), ends, rtol=2.0**-23, atol=2.0**-133)
    assert not (c - np.diag(np.diag(c))).any()
    for bad in (np.inf, np.nan):
        a = np.array([[bad, 1.0]], "float32")
        b = np.array([[1.5], [2.0]], "float32")
        assert not np.isfinite(SIM.to_numpy(matmul(SIM, *map(SIM.asarray, (a, b)), rung=rung).c))


@pytest.mark.parametrize(
    ("rung", "dtype", "K", "sentence"),
    [
        ("mmma", "float32", 16, "no rung 'mmma'; it has naive, tiled"),
        ("mma", "float32", 16, "takes 16-bit numbers, not float32"),
        ("splits", "float16", 16, "takes 32-bit numbers, not float16"),
        ("wgmma_parts", "float16", 16, "takes 32-bit numbers, not float16"),
        ("mma", "float16", 37, "rows that begin at multiples of 16 bytes"),
        ("wgmma", "float16", 37, "rows that begin at multiples of 16 bytes"),
    ],
)
def test_a_rung_that_cannot_is_refused(rung: str, dtype: str, K: int, sentence: str) -> None:
    a, b = (SIM.asarray(np.ones(shape, dtype)) for shape in ((8, K), (K, 8)))
    with pytest.raises(UsageError, match=sentence):
        matmul(SIM, a, b, rung=rung)


@pytest.mark.parametrize("splits", [1, 3])
@pytest.mark.parametrize("N", [7, 130, 136])
@pytest.mark.parametrize("rung", ["mma", "wgmma"])
def test_epilogues_of_tensor_cores_are_exact_on_whole_numbers(
    rung: str, N: int, splits: int
) -> None:
    """Two neighbours are stored at a time, and the last of an odd row alone; or rows of multiples
    of 16 bytes by TMA, up to the edges of C."""
    rng, M = np.random.default_rng(7), 150
    a, w = (whole_numbers(rng, *shape, dtype="float16") for shape in ((M, 72), (N, 72)))
    bias, past = (whole_numbers(rng, *shape, dtype="float16") for shape in ((N,), (M, N)))
    c, slope, _ = matmul(
        SIM, SIM.asarray(a), SIM.asarray(w).T, bias=SIM.asarray(bias), residual=SIM.asarray(past),
        activation="relu", with_slope=True, rung=rung, splits=splits,
    )  # fmt: skip
    u = a.astype("float64") @ w.T.astype("float64") + bias
    np.testing.assert_array_equal(SIM.to_numpy(c), np.maximum(u, 0) + past)
    np.testing.assert_array_equal(SIM.to_numpy(slope), u > 0)


@pytest.mark.parametrize("splits", [1, 2])
@pytest.mark.parametrize("rung", RUNGS)
def test_the_gradient_before_an_activation_and_of_its_bias(rung: str, splits: int) -> None:
    """(g W) slope and its sums over the rows, exactly on whole numbers, in more than one tile each
    way; wgmma's are its widest."""
    dtype, rng = dtype_of(rung), np.random.default_rng(8)
    M, N, K = 150, 264, 72
    g, w = (whole_numbers(rng, *shape, dtype=dtype) for shape in ((M, K), (K, N)))
    slope = rng.integers(0, 2, (M, N)).astype(dtype)
    c, _, sums = matmul(
        SIM, SIM.asarray(g), SIM.asarray(w), scale=SIM.asarray(slope), with_sums=True, rung=rung,
        splits=splits,
    )  # fmt: skip
    truth = g.astype("float64") @ w.astype("float64") * slope
    np.testing.assert_array_equal(SIM.to_numpy(c), truth)
    np.testing.assert_array_equal(SIM.to_numpy(sums), truth.sum(axis=0).astype(dtype))


@pytest.mark.parametrize("with_slope", [False, True])
@pytest.mark.parametrize("N", [261, 264])
def test_sums_over_rows_of_what_tma_stores_and_of_what_registers_do(
    N: int, with_slope: bool
) -> None:
    """relu(a b + bias) scale, its slope and its sums, of 261 or, with a slope, 264 columns by the
    threads themselves."""
    rng, M, K = np.random.default_rng(11), 150, 72
    a, b = (whole_numbers(rng, *shape, dtype="float16") for shape in ((M, K), (K, N)))
    scale, bias = rng.integers(0, 2, (M, N)).astype("float16"), np.arange(N).astype("float16")
    found = matmul(
        SIM, SIM.asarray(a), stored(b, True), bias=SIM.asarray(bias), scale=SIM.asarray(scale),
        activation="relu", with_slope=with_slope, with_sums=True, rung="wgmma", splits=1,
    )  # fmt: skip
    u = a.astype("float64") @ b.astype("float64") + bias
    c = np.maximum(u, 0) * scale
    np.testing.assert_array_equal(SIM.to_numpy(found.c), c)
    np.testing.assert_array_equal(SIM.to_numpy(found.sums), c.sum(axis=0).astype("float16"))
    if found.slope is not None:
        np.testing.assert_array_equal(SIM.to_numpy(found.slope), u > 0)


@pytest.mark.parametrize("shift", [1, 2, 4])
@pytest.mark.parametrize("rung", ["mma", "wgmma"])
def test_what_an_epilogue_reads_may_begin_anywhere(rung: str, shift: int) -> None:
    rng, M, N, K = np.random.default_rng(12), 20, 40, 24
    a, b = (whole_numbers(rng, *shape, dtype="float16") for shape in ((M, K), (K, N)))
    bias, past = (whole_numbers(rng, n + shift, dtype="float16") for n in (N, M * N))
    c = matmul(
        SIM, SIM.asarray(a), SIM.asarray(b), bias=SIM.asarray(bias)[shift:], rung=rung, splits=1,
        residual=SIM.asarray(past)[shift:].reshape(M, N),
    ).c  # fmt: skip
    truth = a.astype("float64") @ b + bias[shift:] + past[shift:].reshape(M, N)
    np.testing.assert_array_equal(SIM.to_numpy(c), truth)


def test_many_small_products_and_long_ones_are_one_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond 65,535, where two axes of a grid end: batches, and rows of tiles."""
    monkeypatch.setenv("TINYGEN_SIM_CHECK", "0")  # of 130,000 blocks
    rng = np.random.default_rng(9)
    a, b = (whole_numbers(rng, 66_000, *shape, dtype="float32") for shape in ((1, 2), (2, 1)))
    c = matmul(SIM, SIM.asarray(a), SIM.asarray(b), rung="naive").c
    np.testing.assert_array_equal(SIM.to_numpy(c), a @ b)
    tall = whole_numbers(rng, 16 * 65_536 + 1, 1, dtype="float32")
    c = matmul(SIM, SIM.asarray(tall), SIM.asarray(b[0, :1]), rung="naive").c
    np.testing.assert_array_equal(SIM.to_numpy(c), tall @ b[0, :1])


def test_what_a_kernel_cannot_count_is_refused() -> None:
    few = SIM.xp.broadcast_to(SIM.asarray(np.ones((1, 1), "float16")), (2**31, 1))
    with pytest.raises(ShapeError, match="in 32 bits; multiply it in parts"):
        matmul(SIM, few, few[:1])


def test_a_split_product_gives_the_same_bits_again() -> None:
    rng = np.random.default_rng(5)
    a, b = (SIM.asarray(rng.standard_normal((40, 40)).astype("float32")) for _ in range(2))
    first, again = (SIM.to_numpy(matmul(SIM, a, b, splits=3)[0]) for _ in range(2))
    np.testing.assert_array_equal(first, again)
