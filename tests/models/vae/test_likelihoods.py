"""Likelihoods: they sum or integrate to one, follow their closed forms, and are quiet in tails."""

import math

import numpy as np
import pytest

import tinygen as tg
from tinygen.errors import DtypeError, OutOfRangeError, UsageError
from tinygen.models.vae import Bernoulli, Categorical, DiscretisedLogistic, Gaussian


def generator(seed=0):
    return tg.random.Generator(seed)


def normal(*shape, seed="numbers"):
    return generator(seed).normal(shape, "float64")


def sigmoid(x):
    return np.where(x >= 0, 1 / (1 + np.exp(-abs(x))), np.exp(-abs(x)) / (1 + np.exp(-abs(x))))


DISCRETE = [(Bernoulli(), 2), (Categorical(5), 5), (DiscretisedLogistic(5), 5)]
SETTINGS = [*(lik for lik, _ in DISCRETE), Gaussian(0.3), Gaussian("shared"), Gaussian("decoded")]


def data_for(likelihood, *shape):
    if isinstance(likelihood, Gaussian):
        return normal(*shape, seed="data")
    levels = 2 if isinstance(likelihood, Bernoulli) else likelihood.levels
    x = generator("data").integers(0, levels, shape)
    return x.astype("float64") if isinstance(likelihood, Bernoulli) else x


@pytest.mark.parametrize(("likelihood", "levels"), DISCRETE)
@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_probabilities_sum_to_one(likelihood, levels, scale):
    params = scale * normal(50, likelihood.per_dimension)  # one dimension
    total = 0.0
    for level in range(levels):
        x = np.full((50, 1), level, float if isinstance(likelihood, Bernoulli) else int)
        total = total + np.exp(likelihood.log_prob(x, params))
    assert abs(total - 1).max() <= 1e-13


@pytest.mark.parametrize("levels", [2, 3, 17, 256])
def test_a_discretised_logistic_of_any_number_of_levels_sums_to_one(levels):
    likelihood = DiscretisedLogistic(levels)
    params = normal(20, 2) * [1.0, 4.0]
    x = np.arange(levels)
    each = likelihood.log_prob(x[:, None], np.repeat(params[:, None], levels, axis=1))
    assert abs(np.exp(each).sum(axis=-1) - 1).max() <= 1e-12


@pytest.mark.parametrize("sigma", [0.3, "decoded"])
def test_the_gaussian_integrates_to_one(sigma):
    likelihood = Gaussian(sigma).to(dtype="float64")
    params = np.array([[0.7, -0.5]])[:, : likelihood.per_dimension]
    x = np.linspace(-20, 20, 200001)
    density = np.exp(likelihood.log_prob(x[:, None], np.repeat(params, len(x), axis=0)))
    assert abs(np.trapezoid(density, x) - 1) <= 1e-12


def test_log_probabilities_are_their_closed_forms():
    x, params = data_for(Bernoulli(), 4, 6), normal(4, 6)
    p = sigmoid(params)
    expected = np.log(np.where(x == 1, p, 1 - p)).sum(-1)
    assert np.allclose(Bernoulli().log_prob(x, params), expected, rtol=1e-13)

    x, params = normal(4, 6, seed=1), normal(4, 12)
    mu, log_sigma = params.reshape(4, 6, 2)[..., 0], params.reshape(4, 6, 2)[..., 1]
    density = np.exp(-0.5 * ((x - mu) / np.exp(log_sigma)) ** 2) / np.exp(log_sigma)
    expected = np.log(density / math.sqrt(2 * math.pi)).sum(-1)
    assert np.allclose(Gaussian("decoded").log_prob(x, params), expected, rtol=1e-13)

    x, params = data_for(Categorical(5), 4, 6), normal(4, 30)
    probs = np.exp(params.reshape(4, 6, 5))
    probs /= probs.sum(-1, keepdims=True)
    expected = np.log(np.take_along_axis(probs, x[..., None], -1)).sum((-2, -1))
    assert np.allclose(Categorical(5).log_prob(x, params), expected, rtol=1e-13)

    x, params = data_for(DiscretisedLogistic(5), 4, 6), normal(4, 12)
    m, s = params.reshape(4, 6, 2)[..., 0], np.exp(params.reshape(4, 6, 2)[..., 1])
    above, below = (x / 2 - 1 + 0.25 - m) / s, (x / 2 - 1 - 0.25 - m) / s  # 5 levels over [-1, 1]
    upper = np.where(x == 4, 1.0, sigmoid(above))
    lower = np.where(x == 0, 0.0, sigmoid(below))
    found = DiscretisedLogistic(5).log_prob(x, params)
    assert np.allclose(found, np.log(upper - lower).sum(-1), rtol=1e-12)


@pytest.mark.parametrize("likelihood", SETTINGS, ids=lambda lik: type(lik).__name__)
def test_reductions_and_shared_data(likelihood):
    likelihood = likelihood.to(dtype="float64")
    x, params = data_for(likelihood, 4, 6), normal(3, 4, 6 * likelihood.per_dimension)
    each = likelihood.log_prob(x, params, reduction="none")
    assert each.shape == (3, 4, 6)
    total = tg.ops.sum(each, axis=-1)
    for found, expected in (
        (likelihood.log_prob(x, params), total),
        (likelihood.log_prob(x, params, reduction="mean"), total / 6),
        (likelihood.log_prob(x, params[1]), total[1]),
    ):
        found, expected = (getattr(v, "data", v) for v in (found, expected))
        assert np.allclose(np.asarray(found), np.asarray(expected), rtol=1e-12)
    with pytest.raises(UsageError, match="median"):
        likelihood.log_prob(x, params, reduction="median")


@pytest.mark.parametrize("likelihood", SETTINGS, ids=lambda lik: type(lik).__name__)
def test_gradients_of_log_prob(likelihood):
    likelihood = likelihood.to(dtype="float64")
    x = data_for(likelihood, 2, 3)
    params = tg.tensor(normal(2, 3 * likelihood.per_dimension))
    tg.testing.check_grad(lambda p: likelihood.log_prob(x, p), params, order=2)


def test_the_tails_are_finite_and_right():
    """float32, where sigmoids are long 0 or 1."""
    logits = np.float32([[-1e4], [1e4], [-50], [50]])
    ones = np.ones((4, 1), np.float32)
    found = Bernoulli().log_prob(ones, logits)
    assert np.allclose(found, [-1e4, 0, -50, -np.exp(-50)], rtol=1e-6)

    likelihood = DiscretisedLogistic(256)
    far = tg.tensor([[-1000.0, -20.0], [1000.0, -20.0], [0.0, 30.0]], requires_grad=True)
    for level in (0, 128, 255):
        logs = likelihood.log_prob(np.full((3, 1), level), far)
        assert np.isfinite(logs.numpy()).all()
        (grad,) = tg.grad(logs, far, tg.ones((3,)))
        assert np.isfinite(grad.numpy()).all()
    # The floor of the scale, e^-7: a level 1 away is e^7 scales away.
    logs = likelihood.log_prob(np.array([[0]]), np.array([[1.0, -7.0]]))
    assert abs(logs[0] / (-(2 - 1 / 255) * math.exp(7)) - 1) <= 1e-12


@pytest.mark.parametrize(("likelihood", "levels"), DISCRETE)
def test_the_mean_is_the_expectation(likelihood, levels):
    params = 2 * normal(7, likelihood.per_dimension)
    expected = 0.0
    for level in range(levels):
        x = np.full((7, 1), level, float if isinstance(likelihood, Bernoulli) else int)
        expected = expected + level * np.exp(likelihood.log_prob(x, params))
    assert np.allclose(likelihood.mean(params)[:, 0], expected, rtol=1e-12)


@pytest.mark.parametrize(("likelihood", "levels"), DISCRETE)
def test_even_noise_gives_each_level_its_share(likelihood, levels):
    """With n uniform numbers evenly over [0, 1), counts are right to one at each end."""
    n = 1000
    noise = ((np.arange(n) + 0.5) / n)[:, None]
    for row in 2 * normal(7, likelihood.per_dimension):
        params = np.repeat(row[None], n, axis=0)
        drawn = likelihood.sample(params, noise=noise)
        for level in range(levels):
            x = np.full((1, 1), level, float if isinstance(likelihood, Bernoulli) else int)
            p = math.exp(likelihood.log_prob(x, row[None])[0])
            assert abs((drawn == level).sum() - n * p) <= 2


def test_samples_from_a_generator():
    params = np.zeros((1000, 1), np.float32)
    assert abs(Bernoulli().sample(params, rng=generator()).mean() - 0.5) <= 5 * 0.5 / 1000**0.5
    gaussian = Gaussian(2.0)
    noise = normal(1000, 1).astype("float32")
    assert np.allclose(gaussian.sample(params + 1, noise=noise), 1 + 2 * noise, atol=1e-6)
    assert abs(gaussian.sample(params, rng=generator()).std() / 2 - 1) <= 5 / 2000**0.5
    drawn = Categorical(3).sample(np.zeros((1000, 3), np.float32), rng=generator())
    assert drawn.dtype == np.int64
    assert set(drawn.ravel()) == {0, 1, 2}
    with pytest.raises(UsageError, match="rng"):
        Bernoulli().sample(params)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Bernoulli().prepare(np.array([255.0]), "float32"), OutOfRangeError, "x / 255"),
        (lambda: Bernoulli().prepare(np.array([np.nan]), "float32"), OutOfRangeError, "nan"),
        (lambda: Categorical(4).prepare(np.array([4]), "float32"), OutOfRangeError, "4 levels"),
        (lambda: Categorical(4).prepare(np.array([-1]), "float32"), OutOfRangeError, "-1"),
        (lambda: Categorical(4).prepare(np.array([0.5]), "float32"), DtypeError, "integers"),
        (lambda: Categorical(1), UsageError, "levels is 1"),
        (lambda: Gaussian(0.0), UsageError, r"sigma is 0\.0"),
        (lambda: Gaussian("free"), UsageError, "'free'"),
        (lambda: Gaussian(math.inf), UsageError, "sigma is inf; it must be a finite number"),
        (lambda: Gaussian(math.nan), UsageError, "sigma is nan"),
        (lambda: Gaussian(None), UsageError, "sigma is None"),
        (lambda: Categorical(2.5), UsageError, "levels is 2.5"),
        (lambda: DiscretisedLogistic("a"), UsageError, "levels is 'a'"),
    ],
)
def test_bad_input_is_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()
