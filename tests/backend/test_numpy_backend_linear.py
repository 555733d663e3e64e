"""Linear layers of a few rows, which go another way than many: the same numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.backend.numpy_backend import few_rows, linear


@pytest.fixture(autouse=True, params=[True, False])
def every_weight_is_large(request, monkeypatch):
    monkeypatch.setattr(few_rows, "LARGE", 1)
    monkeypatch.setattr(few_rows, "small_products_are_fast", lambda: request.param)


@given(
    st.integers(0, 26),
    st.integers(1, 20),
    st.sampled_from([1, 7, 32, 48, 96, 100]),
    st.sampled_from(["f4", "f8"]),
)
def test_few_rows_are_exact_on_whole_numbers(rows, inside, outside, dtype):
    """Small integers leave no rounding, whatever the order of a sum."""
    rng = np.random.default_rng(rows + 10 * inside)
    x = rng.integers(-8, 9, (rows, 1, inside)).astype(dtype)
    bias = rng.integers(-8, 9, outside).astype(dtype)
    for weight in (
        rng.integers(-8, 9, (outside, inside)).astype(dtype),
        rng.integers(-8, 9, (inside, outside)).astype(dtype).T,
        rng.integers(-8, 9, (2 * outside, 2 * inside)).astype(dtype)[::-2, ::2],
    ):
        y, _ = linear.linear_forward(x, weight, bias)
        expected = (x.astype(int) @ weight.astype(int).T) + bias.astype(int)
        assert y.dtype == dtype
        assert np.array_equal(y, expected)


def test_which_way_is_taken(monkeypatch):
    """Six rows of float32 are dot products, seven are not; three of float64, and not four."""
    ways = []
    multiply, dot = np.matmul, np.vecdot
    monkeypatch.setattr(np, "vecdot", lambda *a, **k: ways.append("dots") or dot(*a, **k))
    monkeypatch.setattr(np, "matmul", lambda *a, **k: ways.append("tiles") or multiply(*a, **k))
    monkeypatch.setattr(linear, "gemm", lambda a, b, out: ways.append("whole") or out)
    tiles = "tiles" if few_rows.small_products_are_fast() else "whole"
    for dtype, few in (("f4", 6), ("f8", 3)):
        ways.clear()
        for rows in (1, few, few + 1, 24, 25):
            linear.linear_forward(np.ones((rows, 4), dtype), np.ones((32, 4), dtype))
        assert ways == ["dots", "dots", tiles, tiles, "whole"]
    ways.clear()
    monkeypatch.setattr(few_rows, "LARGE", 129)
    linear.linear_forward(np.ones((1, 4), "f4"), np.ones((32, 4), "f4"))
    assert ways == ["whole"]
