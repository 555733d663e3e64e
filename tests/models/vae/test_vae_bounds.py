"""The bounds of a VAE: the divergence, and ELBO, IWAE and log p(x) in their order."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_vae import KINDS, data_for, model64, normal

from tinygen import ops
from tinygen.models.vae import kl_warmup


@given(mu=st.floats(-5, 5, allow_subnormal=False), logvar=st.floats(-5, 5, allow_subnormal=False))
def test_kl_is_nonnegative_and_zero_only_for_the_prior(mu, logvar):
    kl = float(ops.gaussian_latent(np.array([mu, logvar]), np.zeros(1))[1][0])
    # (e^l - 1 - l + mu^2) / 2 >= (mu^2 + l^2 / 2 - |l|^3 / 6) / 2: from below, near 0 too.
    assert kl >= 0
    if abs(mu) > 1e-7 or abs(logvar) > 1e-7:
        assert kl > 0
    assert ops.gaussian_latent(np.zeros(2), np.zeros(1))[1][0] == 0


def test_the_closed_form_of_kl_is_its_monte_carlo_estimate():
    """KL = E_q (log q - log p), within five standard errors."""
    stats = np.array([0.7, -1.2, 0.5, -0.8])  # mu, logvar of two dimensions
    n = 200_000
    z, kl = ops.gaussian_latent(np.tile(stats, (n, 1)), normal(n, 2))
    mu, logvar = stats[:2], stats[2:]
    log_q = -0.5 * ((z - mu) ** 2 / np.exp(logvar) + logvar)
    each = log_q + 0.5 * z**2
    error = each.std(axis=0) / math.sqrt(n)
    assert (abs(each.mean(axis=0) - kl[0]) <= 5 * error).all()


# ---- bounds --------------------------------------------------------------------------------------


def quadrature(points=40):
    """Nodes and weights for the mean over a standard normal number."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    return nodes, weights / weights.sum()


def test_elbo_iwae_and_log_p_are_in_order_by_exact_integration():
    """One latent: every expectation is a sum over Gauss-Hermite nodes."""
    model = model64(latent=1, hidden=(6,))
    model.encoder.out.weight.data *= 0.2
    model.encoder.out.bias.data[...] = 0.3, 0.2  # near the prior, where few nodes are exact
    x = data_for(model, 4)
    nodes, weights = quadrature()
    with model.inference():
        mu, logvar = (v.numpy() for v in model.encode(x))
        elbos = np.stack([model.elbo(x, noise=np.full((4, 1), t)).numpy() for t in nodes])
        elbo = weights @ elbos
        log_w = np.stack([model.iwae(x, 1, noise=np.full((1, 4, 1), t)).numpy() for t in nodes])
        pairs = np.stack(
            [
                model.iwae(x, 2, noise=np.array([s, t])[:, None, None] + np.zeros((2, 4, 1)))
                for s, t in itertools.product(nodes, nodes)
            ]
        )
        # log p(x), the integral over the prior, on a fine grid
        z = np.linspace(-12, 12, 4001)[:, None]
        params = model.decode(np.repeat(z[:, None], 4, axis=1))  # (4001, 4, D)
        log_joint = model.likelihood.log_prob(x, params).numpy() - 0.5 * z**2
    peak = log_joint.max(axis=0)
    integral = np.trapezoid(np.exp(log_joint - peak), dx=24 / 4000, axis=0)
    log_p = peak + np.log(integral) - 0.5 * math.log(2 * math.pi)
    iwae2 = np.einsum("i,j,ijn->n", weights, weights, np.reshape(pairs, (40, 40, 4)))
    assert np.allclose(weights @ log_w, elbo, rtol=1e-9)  # E log w is the ELBO
    assert (elbo < iwae2).all()
    assert (iwae2 < log_p).all()
    assert np.allclose(weights @ np.exp(log_w), np.exp(log_p), rtol=1e-4)  # E w is p(x)
    assert mu.shape == logvar.shape == (4, 1)


@pytest.mark.parametrize("likelihood", KINDS)
def test_iwae_grows_with_every_sample_on_average_over_subsets(likelihood):
    """With K fixed draws, the mean of IWAE_k over all their k-subsets never falls with k: for each
    k + 1 draws it is Jensen's inequality, so no statistics are needed."""
    model = model64(likelihood=likelihood, **KINDS[likelihood])
    x = data_for(model, 3)
    noise = normal(5, 3, 2)
    means = []
    with model.inference():
        for k in range(1, 6):
            subsets = itertools.combinations(range(5), k)
            bounds = [model.iwae(x, k, noise=noise[list(s)]).numpy() for s in subsets]
            means.append(np.mean(bounds, axis=0))
    assert (np.diff(means, axis=0) > 0).all()


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 10])
def test_chunks_change_neither_the_bound_nor_its_gradient(chunk):
    model = model64(classes=3)
    x, y, noise = data_for(model, 3), np.array([0, 2, 1]), normal(7, 3, 2)

    def bound_and_gradients(chunk):
        for p in model.parameters():
            p.grad = None
        bound = model.iwae(x, 7, y, noise=noise, chunk=chunk)
        (bound * np.array([1.0, -2.0, 0.5])).sum().backward()
        return [bound.numpy(), *(p.grad.numpy() for p in model.parameters())]

    for a, b in zip(bound_and_gradients(None), bound_and_gradients(chunk), strict=True):
        assert np.allclose(a, b, rtol=1e-11, atol=1e-14)


def test_the_loss_is_minus_the_mean_elbo_and_linear_in_beta():
    model = model64()
    x, noise = data_for(model, 4), normal(4, 2)
    losses = [model.loss(x, noise=noise, beta=beta).item() for beta in (0.0, 1.0, 2.0)]
    assert abs(losses[1] + model.elbo(x, noise=noise).numpy().mean()) <= 1e-13 * losses[1]
    assert abs(losses[0] + losses[2] - 2 * losses[1]) <= 1e-12
    recon, kl = model(x, noise=noise)
    assert abs(recon.numpy().mean() - losses[0]) <= 1e-13 * losses[0]
    assert abs(kl.numpy().sum(-1).mean() - (losses[1] - losses[0])) <= 1e-12
    assert losses[1] == model.loss(x, noise=noise.copy()).item()


def test_free_bits_are_paid_by_a_silent_dimension_and_pull_no_longer():
    model = model64()
    x, noise = data_for(model, 4), normal(4, 2)
    recon, kl = (v.numpy() for v in model(x, noise=noise))
    each = kl.mean(axis=0)
    between = each.mean()  # one dimension lies below, the other above
    expected = recon.mean() + np.maximum(each, between).sum()
    found = model.loss(x, noise=noise, free_bits=between).item()
    assert abs(found - expected) <= 1e-12
    gradients = {}
    for beta in (0.0, 1.0):  # with all dimensions below, beta pulls at nothing
        for p in model.parameters():
            p.grad = None
        model.loss(x, noise=noise, free_bits=1e3, beta=beta).backward()
        gradients[beta] = [p.grad.numpy().copy() for p in model.parameters()]
    for a, b in zip(gradients[0.0], gradients[1.0], strict=True):
        assert np.array_equal(a, b)


def test_the_warm_up_is_a_straight_line_and_then_beta():
    assert [kl_warmup(step, 4) for step in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]
    assert kl_warmup(0, 0) == 1
    assert kl_warmup(2, 4, beta=4.0) == 2.0
