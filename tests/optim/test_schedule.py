"""Schedules: pure functions with stated corners."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.errors import UsageError
from tinygen.optim import WSD, Constant, Cosine, Linear

STEPS = 100
SCHEDULES = [
    Constant(warmup=10),
    Linear(STEPS, warmup=10, min_factor=0.2),
    Cosine(STEPS, warmup=10, min_factor=0.2),
    WSD(STEPS, decay=30, warmup=10, min_factor=0.2),
]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_warm_up_rises_in_equal_steps_to_one(schedule):
    assert [schedule(i) for i in range(10)] == [(i + 1) / 10 for i in range(10)]
    assert schedule(10) == 1


@pytest.mark.parametrize("schedule", SCHEDULES[1:])
def test_it_falls_to_min_factor_at_the_first_step_not_taken_and_stays(schedule):
    factors = [schedule(i) for i in range(10, STEPS + 1)]
    assert factors == sorted(factors, reverse=True)
    assert schedule(STEPS) == pytest.approx(0.2, abs=1e-15)
    assert schedule(STEPS - 1) > 0.2
    assert schedule(10 * STEPS) == schedule(STEPS)


def test_shapes():
    assert Constant()(10**9) == 1
    assert Linear(100)(25) == pytest.approx(0.75)
    assert Cosine(100)(25) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    wsd = WSD(100, decay=30, min_factor=0.1)
    assert [wsd(0), wsd(70)] == [1, 1]
    assert wsd(85) == pytest.approx(0.55)
    assert WSD(100, decay=0)(99) == 1


@given(
    kind=st.sampled_from([Linear, Cosine]),
    steps=st.integers(1, 50),
    data=st.data(),
)
def test_every_factor_lies_between_zero_and_one(kind, steps, data):
    schedule = kind(
        steps,
        warmup=data.draw(st.integers(0, steps)),
        min_factor=data.draw(st.floats(0, 1)),
    )
    assert all(0 <= schedule(i) <= 1 for i in range(2 * steps))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Linear(0), "Linear: steps is 0"),
        (lambda: Linear(2.5), r"steps is 2\.5"),
        (lambda: Cosine("a"), "steps is 'a'"),
        (lambda: Linear(10, warmup=11), "lie within the steps"),
        (lambda: Linear(10, warmup=2.5), r"warmup is 2\.5"),
        (lambda: Cosine(10, min_factor=1.5), "min_factor is 1.5"),
        (lambda: Cosine(10, min_factor=math.nan), "min_factor is nan"),
        (lambda: WSD(10, decay=6, warmup=5), "cannot be: .* lie within the steps"),
        (lambda: WSD(10, decay=-1), "decay is -1"),
        (lambda: Constant(warmup=-1), "warmup is -1"),
        (lambda: Cosine(10)(-1), "step of a schedule is -1"),
        (lambda: Cosine(10)(math.nan), "step of a schedule is nan"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()
