"""`assert_close` and the bounds: right results pass, wrong ones fail, NaN never slips through."""

from __future__ import annotations

import numpy as np
import pytest

import tinygen as tg
from tinygen.testing import assert_close, bounds
from tinygen.testing.drawing import Call

NAN, INF = np.nan, np.inf


def test_equal_values_agree_and_nan_with_nan() -> None:
    same = np.array([0.0, -0.0, 1.5, NAN, INF, -INF])
    assert assert_close(same, same.copy()) == 0
    assert assert_close(tg.tensor(same), same.astype(np.longdouble)) == 0


@pytest.mark.parametrize(
    ("actual", "truth"),
    [(NAN, 1.0), (1.0, NAN), (INF, 1.0), (1.0, INF), (-INF, INF), (1.0, 1.0 + 2**-40)],
)
def test_other_values_do_not(actual: float, truth: float) -> None:
    with pytest.raises(AssertionError, match="1 of 1 elements"):
        assert_close(np.array([actual]), np.array([truth]), bounds.ulp(4))


def test_the_message_names_the_worst_element() -> None:
    truth = np.ones((2, 3))
    actual = truth.copy()
    actual[0, 1], actual[1, 2] = 1.001, 1.5
    with pytest.raises(AssertionError, match=r"2 of 6 .* Worst at \(1, 2\): .*1\.5"):
        assert_close(actual, truth, bounds.ulp(2))


def test_shapes_integers_and_booleans_are_exact() -> None:
    with pytest.raises(AssertionError, match="shape"):
        assert_close(np.ones(3), np.ones((3, 1)), bounds.ulp(1e9))
    assert_close(np.arange(3), np.arange(3), bounds.ulp(1e9))
    with pytest.raises(AssertionError, match="1 of 3"):
        assert_close(np.arange(3), np.array([0, 1, 3]), bounds.ulp(1e9))


def test_a_truth_beyond_the_dtype_is_infinite() -> None:
    assert_close(np.array([INF], np.float32), np.array([1e300]), bounds.ulp(1))
    with pytest.raises(AssertionError):
        assert_close(np.array([INF]), np.array([1e300]), bounds.ulp(1))


def test_ulps_are_those_of_the_dtype() -> None:
    one_off = np.nextafter(np.float32(3), np.float32(4))[None]
    ratio = assert_close(one_off, np.array([3.0]), bounds.ulp(2))
    assert 0.5 < ratio <= 1
    with pytest.raises(AssertionError):
        assert_close(one_off.astype(np.float64), np.array([3.0]), bounds.ulp(2))


@pytest.mark.parametrize("order", ["forward", "backward", "pairwise", "sorted"])
@pytest.mark.parametrize("n", [3, 64, 2048])
def test_every_order_of_summation_keeps_within_dot(order: str, n: int) -> None:
    for seed in range(20):
        rng = np.random.default_rng([n, seed])
        x, y = rng.standard_normal((2, n)).astype(np.float32)
        products = x * y
        terms = {
            "forward": products,
            "backward": products[::-1],
            "pairwise": products,
            "sorted": np.sort(products),
        }[order]
        total = terms.sum() if order == "pairwise" else np.cumsum(terms)[-1]
        wide = x.astype(np.longdouble) * y
        assert_close(total, wide.sum(), bounds.dot(n, np.abs(wide).sum()))
        forgotten = products[np.abs(products).argmax()]
        with pytest.raises(AssertionError):
            assert_close(total - forgotten, wide.sum(), bounds.dot(n, np.abs(wide).sum()))


def test_sums_finds_the_number_of_terms_by_itself() -> None:
    call = Call(np.full((2, 5), -3.0), np.full((5, 4), 2.0))
    (bound,) = bounds.sums()(np.matmul, call)
    allowed = bound(1.0, np.zeros((2, 4)))
    np.testing.assert_allclose(allowed, 4 * np.sqrt(5) * 30)


def test_conditioned_grows_with_the_condition() -> None:
    """x - y for close x and y: an ulp of x is many ulps of the difference."""
    call = Call(np.array([1.0, 1.0]), np.array([0.999999, -1.0]))
    (bound,) = bounds.conditioned(1)(np.subtract, call)
    close, apart = bound(1.0, np.subtract(*call.arrays))
    assert close > 0.9
    assert 2 <= apart <= 5


def test_normwise_looks_at_the_largest() -> None:
    assert bounds.normwise(3)(0.5, np.array([-4.0, 1.0])) == 6
    assert bounds.exact()(0.5, np.ones(2)) == 0
    assert bounds.unit_roundoff("int64") == 0
    assert bounds.unit_roundoff(np.float32) == 2.0**-24
