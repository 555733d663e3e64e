"""EDM: its coefficients and loss against the paper."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from networks import N, Network, draw, generator

from tinygen import nn
from tinygen.models.diffusion import EDM


@given(st.floats(1e-3, 1e3), st.floats(0.05, 5))
def test_edm_coefficients(sigma, s):
    """What table 1 is made to satisfy (Karras et al. 2022, appendix B.6)."""
    c = EDM(Network(), sigma_data=s).preconditioning(sigma)
    assert math.isclose(c.c_in**2 * (sigma**2 + s**2), 1, rel_tol=1e-12)  # inputs of variance 1
    target = ((1 - c.c_skip) ** 2 * s**2 + c.c_skip**2 * sigma**2) / c.c_out**2
    assert math.isclose(target, 1, rel_tol=1e-6)  # targets of variance 1
    for other in (0.9, 1.1):  # c_skip is where c_out is least
        skip = c.c_skip * other
        assert (1 - skip) ** 2 * s**2 + skip**2 * sigma**2 >= c.c_out**2 * (1 - 1e-9)
    assert math.isclose(c.c_noise, math.log(sigma) / 4, rel_tol=1e-12, abs_tol=1e-12)
    weight = EDM(Network(), sigma_data=s).weight(sigma)
    assert math.isclose(weight * c.c_out**2, 1, rel_tol=1e-12)


def test_the_edm_loss_is_the_weighted_error_of_the_denoiser():
    """Eq. 2, computed from `denoise`, is eq. 8, which `loss` computes."""
    network = Network()
    model = EDM(network, sigma_data=0.7)
    x0, noise = draw((N, 3, 3, 1))
    sigma = np.array([0.002, 0.1, 0.5, 1.0, 7.0, 80.0])
    found = model.loss(x0, np.arange(N), sigma=sigma, noise=noise)
    assert np.array_equal(network.seen[2], np.arange(N))
    total = 0.0
    for i in range(N):
        x = (x0[i] + sigma[i] * noise[i])[None]
        error = np.square(model.denoise(x, sigma[i]) - x0[i]).mean()
        total += (sigma[i] ** 2 + 0.49) / (sigma[i] * 0.7) ** 2 * error
    assert math.isclose(found, total / N, rel_tol=1e-8)


def test_an_edm_network_that_predicts_nothing_is_the_best_linear_denoiser():
    """c_skip x is E[x0 | x] for x0 ~ N(0, s^2): the network learns what is not Gaussian."""

    class Nothing(nn.Module):
        def forward(self, x, t, y=None):
            return np.zeros_like(x)

    x, _ = draw()
    found = EDM(Nothing(), sigma_data=0.5).denoise(x, 0.8)
    assert np.allclose(found, x * 0.25 / (0.25 + 0.64), rtol=1e-14)


def test_edm_noise_levels_are_log_normal():
    network = Network()
    model = EDM(network, log_mean=-0.4, log_std=0.9)
    n = 20_000
    model.loss(np.zeros((n, 1)), rng=generator())
    logs = 4 * network.seen[1] / 1000  # the network's time is 1000 log(sigma) / 4
    assert abs(logs.mean() + 0.4) <= 5 * 0.9 / math.sqrt(n)
    assert abs(logs.std() - 0.9) <= 5 * 0.9 / math.sqrt(2 * n)
