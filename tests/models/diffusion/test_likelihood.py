"""The likelihood by the probability flow against the mixture's own density, and its ODE solver."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mixture import GAUSSIAN, PLANE, THREE

import tinygen as tg
from tinygen import nn
from tinygen.errors import DivergedError, DtypeError, ShapeError, UsageError
from tinygen.models.diffusion import EDM, bits_per_dimension, log_likelihood
from tinygen.models.diffusion.ode import LOWER, NODES, STAGES, dormand_prince, dormand_prince_step

POINTS = np.array([[0.0, 0.0], [1.0, 0.5], [-1.2, 0.4], [0.3, -1.9], [2.5, 2.0]])


def generator(seed=0):
    return tg.random.Generator(seed)


# ---- the likelihood


@pytest.mark.parametrize("mixture", [THREE, PLANE], ids=["line", "plane"])
def test_the_likelihood_of_a_mixture(mixture):
    """Within 1e-3 nats of log p at the data themselves, and 1e-4 at sigma_min."""
    x = POINTS[:, : mixture.means.shape[1]]
    mean = mixture.weights @ mixture.means
    spread = mixture.stds**2 + np.square(mixture.means - mean).mean(axis=1)
    std = math.sqrt(mixture.weights @ spread)
    found = log_likelihood(mixture.denoise, x, data_mean=mean, data_std=std)
    assert found.nats.shape == (5,)
    assert (abs(found.nats - mixture.log_density(x, 0.0)) <= 1e-3).all()
    assert (abs(found.nats - mixture.log_density(x, 0.002)) <= 1e-4 * (1 + x**2).sum(-1)).all()
    # Without the moments of the data it takes more noise until they do not matter.
    found = log_likelihood(mixture.denoise, x, sigma_max=1e4)
    assert (abs(found.nats - mixture.log_density(x, 0.0)) <= 1e-3).all()


def test_the_likelihood_of_a_gaussian_is_exact():
    """With the true variance at sigma_max nothing is left but the solver's tolerance, for data
    of mean 0."""
    x = np.linspace(-2, 2, 9)[:, None]
    std = GAUSSIAN.stds[0]

    def denoise(x, sigma):
        return (std**2 / (std**2 + sigma**2)) * x

    found = log_likelihood(
        denoise, x, sigma_min=0.01, sigma_max=3.0, data_std=std, rtol=1e-10, atol=1e-12
    )
    v = std**2 + 0.01**2
    truth = -0.5 * x[:, 0] ** 2 / v - 0.5 * math.log(2 * math.pi * v)
    assert np.allclose(found.nats, truth, rtol=1e-8, atol=1e-9)
    # and the flow is a scaling
    assert np.allclose(found.latent, x * math.sqrt((std**2 + 9) / v), rtol=1e-8)


def test_the_latent_is_where_the_flow_leads():
    x = np.linspace(-2, 2, 9)[:, None]
    found = log_likelihood(THREE.denoise, x, sigma_max=5.0, rtol=1e-9, atol=1e-9)
    assert np.allclose(found.latent, THREE.flow(x, 0.002, 5.0), rtol=1e-6)


def test_tolerances_buy_accuracy():
    x = POINTS[:3]
    reference = log_likelihood(PLANE.denoise, x, sigma_max=10.0, rtol=1e-9, atol=1e-9)
    errors, evaluations = [], []
    for tolerance in (1e-3, 1e-5, 1e-7):
        found = log_likelihood(PLANE.denoise, x, sigma_max=10.0, rtol=tolerance, atol=tolerance)
        errors.append(abs(found.nats - reference.nats).max())
        evaluations.append(found.evaluations)
    assert errors[0] <= 0.05
    assert errors[1] <= errors[0] / 10
    assert errors[2] <= errors[1] / 10
    assert evaluations[0] < evaluations[1] < evaluations[2] < reference.evaluations


def test_nobody_is_worse_for_the_company_it_is_in():
    options = {"sigma_max": 10.0, "rtol": 1e-7, "atol": 1e-7}
    together = log_likelihood(PLANE.denoise, POINTS, **options)
    for i in (0, 3, 4):
        alone = log_likelihood(PLANE.denoise, POINTS[i : i + 1], **options)
        assert abs(alone.nats[0] - together.nats[i]) <= 1e-5


def test_the_density_integrates_to_one():
    x = np.linspace(-5, 5, 401)[:, None]
    density = np.exp(log_likelihood(THREE.denoise, x, sigma_max=1e4, rtol=1e-4, atol=1e-4).nats)
    assert abs(density.sum() * (x[1, 0] - x[0, 0]) - 1) <= 1e-3


def test_hutchinsons_estimate_averages_to_the_exact_divergence():
    exact = log_likelihood(PLANE.denoise, POINTS, sigma_max=20.0)
    # All four sign patterns: their mean is the trace exactly, not just on average.
    signs = np.array([[a, b] for a in (-1.0, 1.0) for b in (-1.0, 1.0)])
    noise = np.tile(signs[:, None], (1, 5, 1))  # (4, N, 2)
    all_signs = log_likelihood(PLANE.denoise, POINTS, sigma_max=20.0, noise=noise)
    assert np.allclose(all_signs.nats, exact.nats, atol=1e-5)
    assert np.allclose(all_signs.latent, exact.latent, atol=1e-3)
    # One pattern alone is off by x^T J x - tr J = the part off the diagonal, with opposite signs.
    one, other = (
        log_likelihood(PLANE.denoise, POINTS, sigma_max=20.0, noise=noise[k : k + 1]).nats
        for k in (0, 1)
    )
    assert (abs(one - exact.nats).max()) >= 1e-3
    assert np.allclose((one + other) / 2, exact.nats, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_is_measured_in_its_own_dtype(dtype):
    class Net(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(4, 4, rng=generator())

        def forward(self, x, t, y=None):
            assert x.dtype == dtype
            flat = tg.ops.reshape(x, (len(x), 4))
            return tg.ops.reshape(self.layer(flat).tanh(), x.shape)

    model = EDM(Net()).to(dtype=dtype)
    x = generator().normal((3, 2, 2, 1), dtype)
    with tg.no_grad():  # the divergence is differentiated all the same
        found = log_likelihood(model.denoise, x, sigma_max=10.0, rtol=1e-3, atol=1e-3)
    assert found.nats.dtype == found.latent.dtype == np.float64
    assert found.latent.shape == x.shape
    assert np.isfinite(found.nats).all()
    assert all(p.grad is None for p in model.parameters())
    empty = log_likelihood(model.denoise, x[:0], sigma_max=10.0)
    assert empty.nats.shape == (0,)


def test_bits_per_dimension():
    """Uniform noise over 256 bins is 8 bits a dimension, at any scale of the data."""
    for width in (1.0, 2 / 256):
        nats = np.array([-3 * math.log(256 * width)])  # density 1 / range^3
        assert np.allclose(bits_per_dimension(nats, 3, width), 8.0, rtol=1e-14)


# ---- the solver


def test_the_tableau_satisfies_the_conditions_of_its_order():
    """Order conditions up to 5 for the upper row and 4 for the lower (Butcher 1964)."""
    A = np.zeros((7, 7))
    for i, row in enumerate(STAGES):
        A[i, : len(row)] = row
    c, upper, lower = np.array(NODES), A[6], np.array(LOWER)
    assert np.allclose(A.sum(axis=1), c, atol=1e-14)
    Ac = A @ c
    conditions = [  # (order, value of b . vector)
        (1, np.ones(7), 1),
        (2, c, 1 / 2),
        (3, c**2, 1 / 3),
        (3, Ac, 1 / 6),
        (4, c**3, 1 / 4),
        (4, c * Ac, 1 / 8),
        (4, A @ c**2, 1 / 12),
        (4, A @ Ac, 1 / 24),
        (5, c**4, 1 / 5),
        (5, c**2 * Ac, 1 / 10),
        (5, Ac**2, 1 / 20),
        (5, c * (A @ c**2), 1 / 15),
        (5, c * (A @ Ac), 1 / 30),
        (5, A @ c**3, 1 / 20),
        (5, A @ (c * Ac), 1 / 40),
        (5, A @ (A @ c**2), 1 / 60),
        (5, A @ (A @ Ac), 1 / 120),
    ]
    for order, vector, value in conditions:
        assert abs(upper @ vector - value) <= 1e-14
        if order <= 4:
            assert abs(lower @ vector - value) <= 1e-14
    assert abs(lower @ c**4 - 1 / 5) > 1e-4  # the pair is a pair: the lower row has order 4 only


def test_fixed_steps_converge_at_order_five():
    """y' = -2 t y from y = 1 is exp(-t^2)."""

    def f(t, y):
        return -2 * t * y

    errors = []
    for n in (8, 16, 32):
        y, h = np.ones((1, 1)), 2 / n
        slope = f(0.0, y)
        for i in range(n):
            y, _, slope = dormand_prince_step(f, i * h, y, h, slope)
        errors.append(abs(y[0, 0] - math.exp(-4)))
    orders = -np.diff(np.log2(errors))
    assert (orders >= 4.7).all()
    assert (orders <= 6.2).all()


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0.5, 3))
def test_a_rotation_keeps_its_length_forwards_and_backwards(start, stop, speed):
    def f(t, y):
        return speed * np.stack([-y[:, 1], y[:, 0]], axis=1)

    y = np.array([[1.0, 0.0], [0.3, -2.0]])
    end = dormand_prince(f, y, start, stop, rtol=1e-9, atol=1e-9)
    angle = speed * (stop - start)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    assert np.allclose(end, y @ turn, atol=1e-6)
    back = dormand_prince(f, end, stop, start, rtol=1e-9, atol=1e-9)
    assert np.allclose(back, y, atol=1e-6)


def test_a_large_row_does_not_loosen_a_small_one():
    """Each row is held to its own size: a millionfold larger one beside it changes nothing."""

    def f(t, y):
        return -y * np.array([[20.0], [0.1]])

    end = dormand_prince(f, np.array([[1.0], [1e6]]), 0.0, 1.0, rtol=1e-6, atol=1e-12)
    assert np.allclose(end[:, 0], [math.exp(-20), 1e6 * math.exp(-0.1)], rtol=1e-4)


def test_a_solution_that_blows_up_is_an_error():
    with pytest.raises(DivergedError, match="got only to 1"):
        dormand_prince(lambda t, y: y * y, np.ones((1, 1)), 0.0, 2.0, max_steps=500)
    with pytest.raises(DivergedError, match="finite and smooth"):
        dormand_prince(lambda t, y: y * np.nan, np.ones((1, 1)), 0.0, 1.0, max_steps=50)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: log_likelihood(PLANE.denoise, POINTS, sigma_min=0), UsageError, "sigma_min is 0"),
        (lambda: log_likelihood(PLANE.denoise, POINTS, sigma_max=1e-3), UsageError, "sigma_max"),
        (lambda: log_likelihood(PLANE.denoise, POINTS, noise=POINTS), ShapeError, r"\(K, "),
        (lambda: log_likelihood(PLANE.denoise, POINTS, rtol=0), UsageError, "rtol is 0"),
        (lambda: log_likelihood(PLANE.denoise, [[1.0]]), DtypeError, "list"),
        (lambda: dormand_prince(lambda t, y: y, POINTS, 0, math.inf), UsageError, "stop is inf"),
        (lambda: dormand_prince(lambda t, y: y, POINTS, "a", 1), UsageError, "start is 'a'"),
        (lambda: bits_per_dimension(np.ones(1), 0), UsageError, "dimensions is 0"),
    ],
)
def test_bad_input_is_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()
