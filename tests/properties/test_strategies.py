"""What the drawers draw: shapes, regimes, layouts; and that nothing is drawn twice in two ways."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygen.testing import SeededDraw, layouts, strategies
from tinygen.testing.catalogue import load
from tinygen.testing.drawing import NONZERO, POSITIVE, REAL, Domain
from tinygen.testing.laws import LAWS

CATALOGUE = load()
FEW = settings(max_examples=50)


@FEW
@given(strategies.shapes())
def test_shapes_are_small(shape: tuple[int, ...]) -> None:
    assert len(shape) <= 3
    assert np.prod(shape) <= 60


def test_shapes_have_zeros_ones_primes_and_no_axes() -> None:
    drawn = [SeededDraw(seed, zero_size=True).shape() for seed in range(200)]
    sides = {side for shape in drawn for side in shape}
    assert () in drawn
    assert {0, 1, 2, 3, 5, 7, 11} <= sides
    assert all(0 not in SeededDraw(seed).shape() for seed in range(200))


@FEW
@given(strategies.broadcastable_shapes(3))
def test_broadcastable_shapes_broadcast(shapes: list[tuple[int, ...]]) -> None:
    np.broadcast_shapes(*shapes)


@FEW
@given(strategies.arrays(domain=Domain(-2.0, 2.0, kinks=(-1.0, 0.0, 0.5))))
def test_smooth_numbers_keep_away_from_kinks(x: np.ndarray) -> None:
    for kink in (-1.0, 0.0, 0.5):
        assert (np.abs(x - kink) > 0.05).all()


@FEW
@given(strategies.arrays((3, 4), regime="integers"))
def test_integers_are_small_and_whole(x: np.ndarray) -> None:
    assert np.array_equal(x, np.round(x))
    assert np.abs(x).max() <= 6


@FEW
@given(strategies.arrays((4, 5), POSITIVE, "wide"))
def test_wide_numbers_stay_in_their_domain(x: np.ndarray) -> None:
    assert (x > 0).all()
    assert x.max() / x.min() > 100


def test_every_regime_gives_float32_numbers() -> None:
    for regime in ("smooth", "integers", "ties", "wide", "special"):
        x = SeededDraw(3, regime).array((5, 7), NONZERO)
        assert np.array_equal(x, x.astype(np.float32).astype(np.float64), equal_nan=True)
    special = SeededDraw(3, "special").array((5, 11))
    assert np.isnan(special).any()
    assert np.isinf(special).any()


def test_distinct_numbers_are_well_apart() -> None:
    x, y = SeededDraw(1).distinct((3, 4), (5,), domain=REAL)
    together = np.sort(np.concatenate([x.ravel(), y]))
    assert np.diff(together).min() > 0.1


@FEW
@given(strategies.matrices(5, condition=100.0))
def test_matrices_have_the_condition_that_was_asked_for(a: np.ndarray) -> None:
    np.testing.assert_allclose(np.linalg.cond(a), 100.0, rtol=1e-6)


@pytest.mark.parametrize("name", layouts.LAYOUTS)
def test_layouts_keep_values_and_leave_the_source_alone(name: str) -> None:
    for shape in ((), (3,), (2, 3), (0, 2), (2, 1, 3)):
        x = np.arange(float(np.prod(shape))).reshape(shape)
        y = layouts.LAYOUTS[name](x)
        assert np.array_equal(y, x)
        assert (y.dtype, y.shape) == (x.dtype, x.shape)
        assert not np.shares_memory(x, y)


def test_layouts_are_what_they_are_called() -> None:
    x = np.arange(12.0).reshape(3, 4)
    made = {name: layout(x) for name, layout in layouts.LAYOUTS.items()}
    assert made["F"].flags.f_contiguous
    assert made["strided"].strides == (64, 16)
    assert made["reversed"].strides == (-32, -8)
    assert not made["padded"].flags.contiguous
    assert not made["misaligned"].flags.aligned
    assert not made["read-only"].flags.writeable
    assert layouts.broadcast(x).strides == (0, 8)


@FEW
@given(st.data())
def test_calls_come_as_a_law_wants_them(data: st.DataObject) -> None:
    op = CATALOGUE[data.draw(st.sampled_from(sorted(CATALOGUE)))]
    law = LAWS[data.draw(st.sampled_from(sorted(LAWS)))]
    call = data.draw(strategies.calls_for(op, law))
    assert all(call.arrays[i].dtype == np.float64 for i in call.floats)
    assert all(call.cast("float32").arrays[i].dtype == np.float32 for i in call.floats)


def test_a_seed_is_a_call() -> None:
    for op in CATALOGUE.values():
        first, again = (LAWS["value"].draw(op, 3) for _ in range(2))
        assert repr(first) == repr(again)
        for a, b in zip(first.arrays, again.arrays, strict=True):
            assert np.array_equal(a, b, equal_nan=isinstance(a, np.ndarray))
