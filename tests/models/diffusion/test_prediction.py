"""Predictions: each says the same as every other, at any noise level."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen.errors import ShapeError, UsageError
from tinygen.models.diffusion import Prediction

KINDS = list(Prediction)
SCALE = st.floats(0.01, 10)


def draw(shape, seed=0):
    rng = tg.random.Generator(seed)
    return rng.normal(shape, "float64"), rng.normal(shape, "float64")


def rms(x):
    return math.sqrt(np.mean(np.square(x)))


@given(st.sampled_from(KINDS), st.sampled_from(KINDS), SCALE, SCALE)
def test_the_right_prediction_becomes_the_right_prediction(kind, other, alpha, sigma):
    x0, noise = draw((5, 3))
    xt = alpha * x0 + sigma * noise
    p, q = (k.target(x0, noise, alpha, sigma) for k in (kind, other))
    found = kind.convert(p, xt, alpha, sigma, to=other)
    # the two terms of the conversion are as large as these, and may cancel
    size = (abs(xt) + abs(p)) * (1 + alpha + sigma) ** 2 / abs(kind.determinant(alpha, sigma))
    assert (abs(found - q) <= 16 * 2.0**-53 * size).all()


@given(st.sampled_from(KINDS), st.sampled_from(KINDS), SCALE, SCALE)
def test_conversion_round_trips(kind, other, alpha, sigma):
    p, xt = draw((4, 2))
    there = kind.convert(p, xt, alpha, sigma, to=other)
    back = other.convert(there, xt, alpha, sigma, to=kind)
    growth = max(alpha, sigma, 1) ** 4 / min(alpha, sigma, 1) ** 4
    assert rms(back - p) <= 2.0**-53 * growth * (rms(p) + rms(xt))


@given(st.permutations(KINDS), SCALE, SCALE)
def test_the_way_does_not_matter(kinds, alpha, sigma):
    a, b, c, _ = kinds
    p, xt = draw((4, 2))
    direct = a.convert(p, xt, alpha, sigma, to=c)
    around = b.convert(a.convert(p, xt, alpha, sigma, to=b), xt, alpha, sigma, to=c)
    growth = max(alpha, sigma, 1) ** 4 / min(alpha, sigma, 1) ** 4
    assert rms(direct - around) <= 2.0**-53 * growth * (rms(p) + rms(xt))


@given(st.floats(0, math.pi / 2))
def test_v_is_the_derivative_along_the_circle(angle):
    """Salimans and Ho 2022, appendix D: xt = cos(a) x0 + sin(a) noise, v = dxt/da."""
    x0, noise = draw((3, 2))
    v = Prediction.V.target(x0, noise, math.cos(angle), math.sin(angle))
    h = 1e-3

    def xt(a):
        return math.cos(a) * x0 + math.sin(a) * noise

    slope = (8 * (xt(angle + h) - xt(angle - h)) - xt(angle + 2 * h) + xt(angle - 2 * h)) / (12 * h)
    assert np.allclose(v, slope, atol=1e-10)


def test_the_flow_is_the_derivative_along_the_line():
    x0, noise = draw((3, 2))
    u = Prediction.FLOW.target(x0, noise, 0.3, 0.7)
    assert np.array_equal(u, noise - x0)


def test_an_error_is_carried_as_the_determinant_says():
    p, xt = draw((3, 2))
    for kind in KINDS:
        det = kind.determinant(0.6, 0.8)
        moved = p + 1
        for to, factor in ((Prediction.X0, -0.8 / det), (Prediction.NOISE, 0.6 / det)):
            change = kind.convert(moved, xt, 0.6, 0.8, to=to) - kind.convert(p, xt, 0.6, 0.8, to=to)
            assert np.allclose(change, factor, rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("to", KINDS)
def test_the_ends(kind, to, alpha):
    """Pure data and pure noise: what can be known is exact, what cannot is refused."""
    x0, noise = draw((3, 2))
    sigma = 1 - alpha
    xt = x0 if alpha else noise
    p = kind.target(x0, noise, alpha, sigma)
    open_question = (kind, alpha) in {(Prediction.NOISE, 0.0), (Prediction.X0, 1.0)}
    if open_question and to is not kind:
        with pytest.raises(UsageError, match=f"{kind.value} does not determine {to.value}"):
            kind.convert(p, xt, alpha, sigma, to=to)
    else:
        found = kind.convert(p, xt, alpha, sigma, to=to)
        assert np.allclose(found, to.target(x0, noise, alpha, sigma), rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_level_an_example(dtype):
    x0, noise = (x.astype(dtype) for x in draw((3, 4, 4, 2)))
    angle = np.array([0.1, 0.8, 1.4])
    alpha, sigma = np.cos(angle), np.sin(angle)
    for kind in KINDS:
        p = kind.target(x0, noise, alpha, sigma)
        xt = Prediction.V.target(-noise, x0, alpha, sigma)  # sigma noise + alpha x0
        assert p.dtype == dtype
        for to in KINDS:
            all_at_once = kind.convert(p, xt, alpha, sigma, to=to)
            assert all_at_once.dtype == dtype
            for i in range(3):
                row = slice(i, i + 1)
                alone = kind.convert(p[row], xt[row], alpha[i], sigma[i], to=to)
                assert np.allclose(all_at_once[row], alone, rtol=4 * np.finfo(dtype).eps)


def test_the_gradient_flows_through():
    p, xt = (tg.tensor(x, requires_grad=True) for x in draw((3, 2)))
    Prediction.V.x0(p, xt, 0.6, 0.8).sum().backward()
    assert np.allclose(p.grad.numpy(), -0.8, rtol=1e-15)
    assert np.allclose(xt.grad.numpy(), 0.6, rtol=1e-15)


def test_names_and_errors():
    assert Prediction("v") is Prediction.V
    p, xt = draw((3, 2))
    with pytest.raises(ShapeError, match="one an example"):
        Prediction.V.x0(p, xt, np.full(2, 0.6), np.full(2, 0.8))
