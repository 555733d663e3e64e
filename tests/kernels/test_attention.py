"""kernels/attention_*.cu through the ops that use it: every rung, forward and backward, around
the edges of its tiles, with every check of the simulator on."""

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygen as tg
from tinygen import autograd
from tinygen.backend import backend_named
from tinygen.backend.device import attention
from tinygen.backend.launch import observed
from tinygen.errors import UsageError
from tinygen.tensor import Tensor

DEVICE = os.environ.get("TINYGEN_TEST_DEVICE", "sim")
SIM: Any = backend_named(DEVICE)
pytestmark = pytest.mark.skipif(not SIM.launches, reason="no compiler or NVIDIA's headers")

FLOAT32, HALF = 2.0**-24, 2.0**-11


@pytest.fixture(autouse=True)
def _checking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGEN_SIM_CHECK", "1")
    monkeypatch.setattr(SIM, "rungs", {})


def results(arrays: Any, g: Any, dtype: str, device: str, **options: Any) -> list[Any]:
    """out, dq, dk, dv."""
    leaves = [Tensor(tg.tensor(a, dtype, device).data, requires_grad=True) for a in arrays]
    y = tg.ops.attention(*leaves, **options)
    if device == DEVICE and dtype != "float64":
        assert type(y.node).__name__ == "Attention", "the kernels were not asked"
    gradients = autograd.grad([y], leaves, [tg.tensor(g, dtype, device).data])
    return [t.numpy().astype(np.float64) for t in (y, *gradients)]


def check(B: int, H: int, group: int, T: int, S: int, D: int, seed: int, **options: Any) -> None:
    """At most twice the error of the CPU's float32 against float64, and a few roundings more."""
    rng = np.random.default_rng(seed)
    shapes = [(B, H * group, T, D), (B, H, S, D), (B, H, S, D)]
    arrays = [rng.standard_normal(shape).astype("float32") for shape in shapes]
    g = rng.standard_normal(shapes[0]).astype("float32")
    truth = results(arrays, g, "float64", "cpu", **options)
    plain = results(arrays, g, "float32", "cpu", **options)
    found = results(arrays, g, "float32", DEVICE, **options)
    names = ("out", "dq", "dk", "dv")
    for name, exact, rough, value in zip(names, truth, plain, found, strict=True):
        rounding = 32 * FLOAT32 * np.abs(exact).max(initial=1.0)
        allowed = 2 * np.abs(rough - exact).max(initial=0) + rounding
        assert np.abs(value - exact).max(initial=0) <= allowed, f"{name} of {options}"


@pytest.mark.parametrize("options", [{}, {"causal": True}, {"causal": True, "window": 5}])
@pytest.mark.parametrize("T", [1, 31, 32, 33, 65])
def test_lengths_around_the_edges_of_a_tile(T: int, options: dict[str, Any]) -> None:
    check(1, 1, 2, T, T, 16, T, **options)


@pytest.mark.parametrize(
    ("T", "S", "D", "options"),
    [
        (1, 40, 64, {"causal": True}),  # a step of generation
        (40, 3, 61, {"causal": True}),  # queries that see no key
        (5, 70, 7, {"window": 3}),
        (0, 4, 8, {}),
        (4, 0, 8, {}),
        (33, 17, 16, {"scale": -2.0}),
    ],
)
def test_shapes_that_are_not_square(T: int, S: int, D: int, options: dict[str, Any]) -> None:
    check(2, 2, 1, T, S, D, 0, **options)


@pytest.mark.deep
@given(
    st.integers(1, 2), st.integers(1, 2), st.integers(1, 3), st.integers(1, 80),
    st.integers(1, 80), st.sampled_from([5, 16, 48, 64, 100, 128]), st.booleans(),
    st.none() | st.integers(1, 90), st.integers(0, 2**32 - 1),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_any_shape(
    B: int, H: int, group: int, T: int, S: int, D: int, causal: bool, window: Any, seed: int
) -> None:
    check(B, H, group, T, S, D, seed, causal=causal, window=window)


def test_the_naive_rung_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    q, k, v = (SIM.asarray(rng.standard_normal((1, 2, 20, 16)).astype("float32")) for _ in range(3))
    tiled, lse = SIM.attention_forward(q, k, v, causal=True)
    monkeypatch.setattr(SIM, "rungs", {"attention": "naive"})
    naive, naive_lse = SIM.attention_forward(q, k, v, causal=True)
    np.testing.assert_allclose(SIM.to_numpy(naive), SIM.to_numpy(tiled), atol=1e-6)
    np.testing.assert_allclose(SIM.to_numpy(naive_lse), SIM.to_numpy(lse), atol=1e-6)


@pytest.mark.parametrize("multiprocessors", [1, 12])
@pytest.mark.parametrize(
    ("B", "H", "group", "T", "S", "D", "options"),
    [
        (1, 1, 1, 1, 300, 16, {"causal": True}),
        (2, 2, 4, 2, 257, 61, {"causal": True}),
        (1, 1, 2, 3, 400, 128, {"causal": True, "window": 70}),
        (1, 2, 1, 5, 130, 40, {"window": 40}),
        (1, 1, 16, 1, 64, 64, {}),
        (1, 1, 1, 4, 2, 16, {"causal": True}),  # two of the queries see no key
    ],
)
def test_few_queries_split_over_the_keys(
    B: int, H: int, group: int, T: int, S: int, D: int, options: dict[str, Any],
    multiprocessors: int, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """By the decoding rung: against float64, with at most twice float32's own error; and in float16
    within a rounding of the result of what float32 gives for the same numbers."""
    monkeypatch.setattr(SIM, "rungs", {"attention": "decode"})
    monkeypatch.setattr(SIM, "multiprocessors", multiprocessors, raising=False)
    check(B, H, group, T, S, D, S, **options)
    rng = np.random.default_rng(S)
    shapes = [(B, H * group, T, D), (B, H, S, D), (B, H, S, D)]
    halves = [rng.standard_normal(shape).astype("float16") for shape in shapes]
    out, lse = SIM.attention_forward(*(SIM.asarray(x) for x in halves), **options)
    floats = [SIM.asarray(x.astype("float32")) for x in halves]
    exact, exact_lse = SIM.attention_forward(*floats, **options)
    assert SIM.to_numpy(out).dtype == np.float16
    np.testing.assert_allclose(SIM.to_numpy(out), SIM.to_numpy(exact), rtol=HALF, atol=2.0**-24)
    np.testing.assert_allclose(SIM.to_numpy(lse), SIM.to_numpy(exact_lse), rtol=1e-6)


def test_decoding_is_chosen_for_few_queries_and_many_keys() -> None:
    rng = np.random.default_rng(3)
    for T, S, wanted in ((1, 256, "decode"), (1, 255, "tiled"), (17, 256, "tiled")):
        q, k, v = (
            SIM.asarray(rng.standard_normal((1, 1, n, 16)).astype("float32")) for n in (T, S, S)
        )
        kernels: list[str] = []
        with observed(lambda backend, kernel, kernels=kernels: kernels.append(kernel.name)):
            SIM.attention_forward(q, k, v, causal=True)
        assert kernels[0] == f"attention_{wanted}"
        if wanted == "decode":
            assert kernels[1:] == ["attention_combine"]


@pytest.mark.parametrize(
    ("rung", "dtype", "D", "sentence"),
    [
        ("flash", "float32", 16, "no rung 'flash'; it has naive, tiled, decode, mma, wgmma"),
        ("decode", "float32", 16, "takes 1 to 16 queries for each key/value head, not 17"),
        ("wgmma", "float32", 16, "takes 16-bit numbers, not float32"),
        ("mma", "float16", 12, "rows that begin at multiples of 16 bytes"),
    ],
)
def test_a_rung_that_cannot_is_refused(rung: str, dtype: str, D: int, sentence: str) -> None:
    SIM.rungs["attention"] = rung
    x = SIM.asarray(np.ones((1, 1, 17, D), dtype))
    with pytest.raises(UsageError, match=sentence):
        SIM.attention_forward(x, x, x)


def test_heads_are_read_and_written_where_they_lie_in_one_buffer() -> None:
    rng = np.random.default_rng(1)
    buffer, g = rng.standard_normal((2, 9, 4 * 8)), rng.standard_normal((2, 9, 2 * 8))
    found = []
    for device, dtype in [("cpu", "float64"), (DEVICE, "float32")]:
        qkv = Tensor(tg.tensor(buffer, dtype, device).data, requires_grad=True)
        y = tg.ops.packed_attention(qkv, n_head=2, n_kv_head=1, causal=True)
        (gradient,) = autograd.grad([y], [qkv], [tg.tensor(g, dtype, device).data])
        found.append((y.numpy(), gradient.numpy()))
    for exact, value in zip(*found, strict=True):
        np.testing.assert_allclose(value, exact, atol=2e-6)


@pytest.mark.parametrize(
    ("B", "H", "group", "T", "S", "D", "options"),
    [
        (1, 1, 1, 64, 64, 16, {}),
        (2, 2, 2, 65, 65, 64, {"causal": True}),
        (1, 1, 1, 40, 3, 16, {"causal": True}),
        (1, 1, 2, 130, 300, 40, {"causal": True, "window": 150}),
        pytest.param(2, 2, 2, 257, 257, 128, {"causal": True}, marks=pytest.mark.deep),
        pytest.param(1, 1, 1, 200, 520, 64, {}, marks=pytest.mark.deep),
        pytest.param(1, 1, 1, 1, 130, 32, {"causal": True}, marks=pytest.mark.deep),
        pytest.param(1, 2, 1, 130, 33, 24, {}, marks=pytest.mark.deep),
        pytest.param(1, 1, 2, 70, 70, 128, {"causal": True, "window": 20}, marks=pytest.mark.deep),
    ],
)
@pytest.mark.parametrize("rung", ["mma", "wgmma"])
def test_tensor_cores_have_at_most_twice_the_error_of_a_plain_computation(
    B: int, H: int, group: int, T: int, S: int, D: int, options: dict[str, Any], rung: str
) -> None:
    """float16 by the rungs on tensor cores: against float64, beside a float32 computation of which
    q, k, v, the probabilities, the gradient of the scores and the results are rounded to float16.
    """
    rng = np.random.default_rng(T)
    shapes = [(B, H * group, T, D), (B, H, S, D), (B, H, S, D), (B, H * group, T, D)]
    q, k, v, g = (rng.standard_normal(shape).astype("float16") for shape in shapes)
    SIM.rungs["attention"] = rung
    on_device = [SIM.asarray(x) for x in (q, k, v, g)]
    out, lse = SIM.attention_forward(*on_device[:3], **options)
    found = [out, *SIM.attention_backward(on_device[3], *on_device[:3], out, lse, **options)]
    truth = results((q, k, v), g, "float64", "cpu", **options)
    names = ("out", "dq", "dk", "dv")
    for name, exact, value in zip(names, truth, found, strict=True):
        error = np.abs(SIM.to_numpy(value).astype("float64") - exact).max()
        plain = 2 * HALF * np.abs(exact).max() + 4 * HALF  # of the factors, and of the result
        assert error <= 2 * plain, f"{name}: {error:.2g} beyond {2 * plain:.2g}"
        assert np.isfinite(SIM.to_numpy(value)).all()


def test_a_batch_beyond_the_axis_of_a_grid_goes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "MOST_BATCH", 2)
    check(5, 2, 1, 9, 9, 16, 0, causal=True)


def test_two_runs_give_the_same_bits() -> None:
    rng = np.random.default_rng(2)
    arrays = [rng.standard_normal((1, 2, 40, 16)) for _ in range(3)]
    g = rng.standard_normal((1, 2, 40, 16))
    first, again = (results(arrays, g, "float32", DEVICE, causal=True) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
