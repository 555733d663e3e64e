"""Classifier-free guidance: its limits, its interval, and what it does to known distributions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mixture import Mixture, last

import tinygen as tg
from tinygen.errors import ShapeError, UsageError
from tinygen.models.diffusion import drop_classes, guide, karras_sigmas, sample_heun
from tinygen.random import Generator

X = tg.random.Generator(0).normal((4, 2), "float64")
Y = np.array([0, 1, 1, 0])


class Counted:
    """A conditional denoiser that counts how it is asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, x, level, y):
        self.asked.append("without" if y is None else "with")
        return 0.5 * x if y is None else 0.5 * x + y[:, None] / level


def test_scale_zero_is_the_unconditional_model_exactly():
    denoise = Counted()
    assert np.array_equal(guide(denoise, Y, 0.0)(X, 2.0), denoise(X, 2.0, None))
    assert denoise.asked == ["without"] * 2


def test_scale_one_is_the_conditional_model_exactly():
    denoise = Counted()
    assert np.array_equal(guide(denoise, Y, 1.0)(X, 2.0), denoise(X, 2.0, Y))
    assert denoise.asked == ["with"] * 2


@given(st.floats(-3, 10), st.floats(0.1, 10))
def test_it_is_linear_in_the_scale(scale, level):
    denoise = Counted()
    found = guide(denoise, Y, scale)(X, level)
    expected = 0.5 * X + scale * Y[:, None] / level
    assert np.allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_outside_the_interval_it_is_the_conditional_model():
    denoise = Counted()
    guided = guide(denoise, Y, 3.0, interval=(0.5, 2.0))
    for level, inside in ((0.4, False), (0.5, False), (0.6, True), (2.0, True), (2.1, False)):
        denoise.asked.clear()
        found = guided(X, level)
        assert denoise.asked == (["without", "with"] if inside else ["with"])
        factor = 3.0 if inside else 1.0
        assert np.allclose(found, 0.5 * X + factor * Y[:, None] / level, rtol=1e-12)


def test_another_value_may_mean_no_class():
    null = np.full(4, 7)
    seen = []
    guide(lambda x, level, y: seen.append(y) or x, Y, 2.0, without=null)(X, 1.0)
    assert seen[0] is null
    assert seen[1] is Y


def conditional(x, sigma, y):
    """Two classes, N(-1, 0.5^2) and N(1, 0.5^2); without a class their mixture."""
    both = Mixture(np.array([0.5, 0.5]), np.array([[-1.0], [1.0]]), np.array([0.5, 0.5]))
    if y is None:
        return both.denoise(x, sigma)
    mean = 2.0 * y[:, None] - 1
    return mean + 0.25 / (0.25 + sigma**2) * (x - mean)


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_samples_of_the_guided_model(scale):
    """Scale 0 gives both classes, 1 the asked one with its moments, more exaggerates it."""
    n = 1000
    # evenly spaced quantiles instead of random starts: the flow keeps them
    u = (np.arange(n) + 0.5) / n
    start = np.sort(tg.random.Generator(0).normal((200_001,), "float64"))
    x = 80 * start[(u * 200_000).astype(int)][:, None]
    y = np.ones(n, np.int64)
    end = last(sample_heun(guide(conditional, y, scale), x, karras_sigmas(60))).x
    mean, std = end.mean(), end.std()
    if scale == 0:
        assert abs(mean) <= 0.02
        assert abs(std - math.sqrt(1.25)) <= 0.02
    elif scale == 1:
        assert abs(mean - 1) <= 0.02
        assert abs(std - 0.5) <= 0.02
    else:
        assert mean >= 1.1  # further from the other class
        assert std <= 0.48  # and less varied


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: guide(conditional, Y, math.nan), UsageError, "scale is nan"),
        (lambda: guide(conditional, Y, 2.0, interval=(2, 1)), UsageError, "leaves none"),
        (lambda: guide(conditional, Y, 2.0, interval=(1,)), UsageError, "leaves none"),
        (lambda: guide(conditional, Y, 2.0, interval=("a", 1)), UsageError, "sequence of numbers"),
        (lambda: guide(conditional, Y, "a"), UsageError, "scale is 'a'"),
    ],
)
def test_bad_input_is_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_classes_are_dropped_where_the_numbers_say_so_and_as_often():
    y = np.array([3, 1, 4, 1])
    told = drop_classes(y, 0.5, null=9, uniform=np.array([0.0, 0.49, 0.5, 0.99]))
    assert told.tolist() == [9, 9, 4, 1]
    many = drop_classes(np.zeros(20000, int), 0.1, null=1, rng=Generator(0))
    assert many.mean() == pytest.approx(0.1, abs=5 * math.sqrt(0.09 / 20000))
    assert drop_classes(y, 0.0, null=9, rng=Generator(0)).tolist() == y.tolist()
    assert drop_classes(y, 1.0, null=9, rng=Generator(0)).tolist() == [9] * 4
    with pytest.raises(UsageError, match="probability of dropping"):
        drop_classes(y, 2.0, null=9, rng=Generator(0))
    with pytest.raises(UsageError, match="give the generator"):
        drop_classes(y, 0.5, null=9)
    with pytest.raises(ShapeError):
        drop_classes(y, 0.5, null=9, uniform=np.zeros(3))
