"""Linear layers of a few rows, which go another way than many: the same numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.backend.numpy_backend import linear


@pytest.fixture(autouse=True)
def every_weight_is_large(monkeypatch):
    monkeypatch.setattr(linear, "LARGE", 1)


@given(st.integers(0, 9), st.integers(1, 20), st.integers(1, 20), st.sampled_from(["f4", "f8"]))
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


def test_the_limit_is_of_bytes(monkeypatch):
    """Six rows of float32 are few, seven are not; three of float64, and not four."""
    products = []
    monkeypatch.setattr(linear, "gemm", lambda a, b, out: products.append(len(a)) or out)
    for dtype in ("f4", "f8"):
        for rows in range(1, 9):
            linear.linear_forward(np.ones((rows, 4), dtype), np.ones((5, 4), dtype))
    assert products == [7, 8, 4, 5, 6, 7, 8]
