"""The losses: their values at the best discriminator, whose closed forms are known, and gradients.

On a finite set the densities p and q are two vectors and D is one score a point, so that L_D and
its minimum are exact sums. A mean over a batch becomes a sum with weights by repeating points.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen.models.gan import (
    LOSSES,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    Relativistic,
    Wasserstein,
)
from tinygen.testing import check_grad

U = 2.0**-53


@st.composite
def counts(draw):
    """Two histograms of the same number of examples over the same points, neither empty anywhere,
    and that number: p = a / n, q = b / n."""
    k = draw(st.integers(1, 6))
    a = draw(st.lists(st.integers(1, 7), min_size=k, max_size=k))
    b = draw(st.lists(st.integers(1, 7), min_size=k, max_size=k))
    scale_a, scale_b = sum(b), sum(a)  # each repeated until both have sum(a) sum(b) examples
    return [x * scale_a for x in a], [x * scale_b for x in b]


def batches(scores, histograms):
    """The scores of the batches that have these histograms."""
    return tuple(np.repeat(scores, h) for h in histograms)


def discriminator_loss(loss, scores, histograms):
    return float(loss.discriminator(*batches(np.asarray(scores, np.float64), histograms)))


def densities(histograms):
    a, b = (np.array(h, np.float64) for h in histograms)
    return a / a.sum(), b / b.sum()


def jensen_shannon(p, q):
    m = (p + q) / 2
    return (np.sum(p * np.log(p / m)) + np.sum(q * np.log(q / m))) / 2


BEST = {
    "non-saturating": (
        lambda p, q: np.log(p / q),
        lambda p, q: 2 * math.log(2) - 2 * jensen_shannon(p, q),
    ),
    "least-squares": (lambda p, q: p / (p + q), lambda p, q: np.sum(p * q / (p + q)) / 2),
    "hinge": (lambda p, q: np.sign(p - q), lambda p, q: 2 - np.abs(p - q).sum()),
}


@pytest.mark.parametrize("name", BEST)
@given(histograms=counts(), data=st.data())
def test_the_best_discriminator_and_its_loss(name, histograms, data):
    loss, (best, value) = LOSSES[name], BEST[name]
    p, q = densities(histograms)
    scores = best(p, q)
    n = sum(histograms[0])
    found = discriminator_loss(loss, scores, histograms)
    assert abs(found - value(p, q)) <= 8 * n * U * (2 + abs(found))
    # It is a minimum: no other scores do better.
    other = scores + np.array(
        data.draw(st.lists(st.floats(-3, 3), min_size=len(p), max_size=len(p)))
    )
    assert discriminator_loss(loss, other, histograms) >= found - 8 * n * U * (2 + abs(found))


def test_at_the_optimum_the_game_is_worth_minus_log_4():
    """p = q: D* = 1/2 everywhere, and V(D*, G) = -L_D = -log 4 (Goodfellow et al. 2014, theorem 1);
    least squares 1/4, hinge 2, Wasserstein 0, relativistic log 2."""
    zero = np.zeros(64)
    assert abs(NonSaturating().discriminator(zero, zero) - math.log(4)) <= 4 * U
    assert abs(Minimax().generator(zero) + math.log(2)) <= 2 * U
    assert abs(NonSaturating().generator(zero) - math.log(2)) <= 2 * U
    assert LeastSquares().discriminator(zero + 0.5, zero + 0.5) == 0.25
    assert Hinge().discriminator(zero, zero) == 2
    assert Wasserstein().discriminator(zero + 3, zero + 3) == 0
    assert abs(Relativistic().discriminator(zero + 3, zero + 3) - math.log(2)) <= 2 * U


@given(histograms=counts(), data=st.data())
def test_paired_with_itself_no_discriminator_beats_log_2(histograms, data):
    """Relativistic: for p = q and any D, E softplus(D(x') - D(x)) >= log 2 (Jensen), over all
    pairs."""
    k = len(histograms[0])
    scores = np.array(data.draw(st.lists(st.floats(-5, 5), min_size=k, max_size=k)))
    real = batches(scores, (np.array(histograms[0][:k]) // max(1, sum(histograms[0]) // 40) + 1,))[
        0
    ]
    pairs = np.repeat(real, len(real)), np.tile(real, len(real))
    assert Relativistic().discriminator(*pairs) >= math.log(2) * (1 - 1e-13)


def test_wasserstein_between_two_points_is_their_distance():
    """In one dimension D(x) = -x is the steepest 1-Lipschitz score for samples to the right."""
    real, fake = np.array([0.0, 1.0, 2.0]), np.array([2.5, 3.5, 4.5])
    assert Wasserstein().discriminator(-real, -fake) == -2.5
    assert Wasserstein().generator(-fake) == 3.5


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_by_both_scores(name):
    rng = tg.random.Generator(name)
    real, fake = (2 * rng.normal((7,), "float64") for _ in range(2))
    check_grad(LOSSES[name].discriminator, real, fake)
    check_grad(LOSSES[name].generator, fake, real)


def slope(loss, score):
    """dL_G / dfake of one sample."""
    fake = tg.tensor(np.array([score]), requires_grad=True)
    loss.generator(fake, np.zeros(1)).backward()
    return fake.grad.item()


def test_who_saturates():
    """A sample that is found out (score -30) gets no gradient from the minimax loss and a full one
    from all others; this is why the non-saturating form exists."""
    assert -1e-12 < slope(Minimax(), -30.0) < 0
    for name, loss in LOSSES.items():
        if name != "minimax":
            assert slope(loss, -30.0) <= -(1 - 1e-12), name


@pytest.mark.parametrize("name", LOSSES)
def test_far_scores_stay_finite(name):
    loss = LOSSES[name]
    far = tg.tensor(np.array([-1e9, 1e9]), requires_grad=True)
    value = loss.discriminator(far, far[::-1]) + loss.generator(far, far[::-1])
    value.backward()
    assert np.isfinite(value.item())
    assert np.isfinite(far.grad.numpy()).all()


def test_arrays_in_array_out():
    scores = np.linspace(-1, 1, 5, dtype=np.float32)
    for loss in LOSSES.values():
        assert loss.discriminator(scores, scores).dtype == np.float32
        assert loss.generator(scores, scores).shape == ()
