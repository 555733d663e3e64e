"""DDPM: its loss and weights against the papers, its denoiser against the truth."""

import math

import numpy as np
import pytest
from mixture import PLANE
from networks import SCHEDULE, TIMES, N, Network, Oracle, draw

from tinygen.models.diffusion import DDPM, Prediction

KINDS = list(Prediction)


def ideal_ddpm(kind, **options):
    return DDPM(Oracle(kind, lambda t: SCHEDULE.scales(int(t))), SCHEDULE, kind, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_the_ddpm_loss_is_the_mean_square_of_the_prediction(kind):
    network = Network()
    model = DDPM(network, SCHEDULE, kind)
    x0, noise = draw((N, 4, 4, 3))
    y = np.arange(N)
    found = model.loss(x0, y, t=TIMES, noise=noise)
    total = 0.0
    for i, t in enumerate(TIMES):
        alpha, sigma = math.sqrt(SCHEDULE.alpha_bar[t]), math.sqrt(1 - SCHEDULE.alpha_bar[t])
        xt = alpha * x0[i] + sigma * noise[i]
        target = {
            Prediction.NOISE: noise[i],
            Prediction.X0: x0[i],
            Prediction.V: alpha * noise[i] - sigma * x0[i],
            Prediction.FLOW: noise[i] - x0[i],
        }[kind]
        assert np.allclose(network.seen[0][i], xt, rtol=1e-13, atol=1e-14)
        total += np.square(0.3 * xt + math.cos(t) - target).mean()
    assert math.isclose(found, total / N, rel_tol=1e-12)
    assert np.array_equal(network.seen[1], TIMES)
    assert network.seen[1].dtype == np.float64
    assert network.seen[2] is y


def test_min_snr_weights_are_those_of_the_paper():
    """Hang et al. 2023, section 3.4, with gamma = 5."""
    snr = SCHEDULE.snr
    t = np.arange(40)
    clipped = np.minimum(snr, 5)
    expected = {
        Prediction.X0: clipped,
        Prediction.NOISE: clipped / snr,
        Prediction.V: clipped / (snr + 1),
    }
    for kind, weights in expected.items():
        model = DDPM(Network(), SCHEDULE, kind, min_snr=5.0)
        assert np.allclose(model.weights(t), weights, rtol=1e-10)
    assert (DDPM(Network(), SCHEDULE).weights(t) == 1).all()


def test_with_min_snr_weights_it_does_not_matter_what_is_predicted():
    """The same estimate of x0, put in four ways, has the same loss; without them it does not."""
    x0, noise = draw()
    weighted = [ideal_ddpm(k, min_snr=5.0).loss(x0, t=TIMES, noise=noise) for k in KINDS]
    plain = [ideal_ddpm(k).loss(x0, t=TIMES, noise=noise) for k in KINDS]
    assert np.allclose(weighted, weighted[0], rtol=1e-8)
    assert np.ptp(plain) > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_ddpm_denoises_in_both_coordinates(kind):
    model = ideal_ddpm(kind)
    x, _ = draw()
    for t in TIMES:
        alpha, sigma = SCHEDULE.scales(int(t)), SCHEDULE.sigmas[t]
        truth = PLANE.denoise(x * sigma, sigma)
        xt = x * sigma * alpha[0]
        assert np.allclose(model.denoise_at(xt, int(t)), truth, rtol=1e-6, atol=1e-8)
        # the time of this sigma is t up to rounding; the oracle wants it whole
        model.network.scales = lambda time: SCHEDULE.scales(round(float(time)))
        assert np.allclose(model.denoise(x * sigma, sigma), truth, rtol=1e-6, atol=1e-8)
    each = model.denoise_at(x, TIMES)
    for i, t in enumerate(TIMES):
        assert np.allclose(each[i], model.denoise_at(x[i : i + 1], int(t))[0], rtol=1e-12)


def test_between_two_times_the_network_gets_a_fraction():
    network = Network()
    model = DDPM(network, SCHEDULE, Prediction.V)
    sigma = math.sqrt(SCHEDULE.sigmas[10] * SCHEDULE.sigmas[11])
    x, _ = draw()
    model.denoise(x, sigma)
    assert np.allclose(network.seen[1], 10.5)
    assert np.allclose(network.seen[0], x / math.sqrt(1 + sigma**2), rtol=1e-14)
