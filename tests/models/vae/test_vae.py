"""The VAE: its bounds in their order, its gradients, a linear one against probabilistic PCA."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen as tg
from tinygen import ops
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.models.vae import (
    VAE,
    VAEConfig,
    anomaly_score,
    kl_warmup,
    log_likelihood,
)

KINDS = {
    "bernoulli": {},
    "gaussian": {"sigma": "shared"},
    "gaussian, decoded": {"sigma": "decoded"},
    "gaussian, fixed": {"sigma": 0.5},
    "categorical": {"levels": 4},
    "logistic": {"levels": 4},
}


def generator(seed=0):
    return tg.random.Generator(seed)


def model64(shape=(5,), latent=2, hidden=(7,), likelihood="bernoulli", **options):
    """A model in float64 whose weights are large enough for every path to matter."""
    name = likelihood.split(",")[0]
    config = VAEConfig(shape, latent, hidden, likelihood=name, **{"activation": "tanh", **options})
    model = VAE(config, rng=generator()).to(dtype="float64")
    for name, p in model.named_parameters():
        p.data[...] += 0.3 * generator(name).normal(p.shape, "float64")
    return model


def data_for(model, n, seed="data"):
    shape = (n, *model.config.data_shape)
    rng = generator(seed)
    if model.config.likelihood in ("categorical", "logistic"):
        return rng.integers(0, model.config.levels, shape)
    if model.config.likelihood == "bernoulli":
        return (rng.uniform(shape) < 0.5).astype("float64")
    return rng.normal(shape, "float64")


def normal(*shape, seed="noise"):
    return generator(seed).normal(shape, "float64")


# ---- the divergence ------------------------------------------------------------------------------


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


# ---- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", KINDS)
@pytest.mark.parametrize("images", [False, True], ids=["mlp", "convolutional"])
def test_every_parameter_gets_its_gradient(likelihood, images):
    options = {"shape": (5, 6, 2), "channels": (3, 4)} if images else {}
    model = model64(likelihood=likelihood, classes=3, **options, **KINDS[likelihood])
    x, y, noise = data_for(model, 4), np.array([0, 1, 2, 0]), normal(4, 2)
    model.loss(x, y, noise=noise).backward()
    gradients = {name: p.grad.numpy() for name, p in model.named_parameters()}
    assert all(abs(g).max() > 0 for g in gradients.values())
    # One direction through all parameters, against a central difference.
    direction = {name: normal(*g.shape, seed=name) for name, g in gradients.items()}
    slope = sum((gradients[name] * d).sum() for name, d in direction.items())
    values = []
    for step in (1e-6, -2e-6):
        for name, p in model.named_parameters():
            p.data[...] += step * direction[name]
        values.append(model.loss(x, y, noise=noise).item())
    assert abs((values[0] - values[1]) / 2e-6 - slope) <= 1e-6 * max(1, abs(slope))


def test_an_example_is_scored_by_itself():
    """d elbo_i / d x_j is exactly zero for i != j."""
    model = model64(likelihood="gaussian")
    x = tg.tensor(data_for(model, 3), requires_grad=True)
    elbo = model.elbo(x, noise=normal(3, 2))
    (grad,) = tg.grad(elbo, x, np.array([0.0, 1.0, 0.0]))
    assert (grad.numpy()[[0, 2]] == 0).all()
    assert abs(grad.numpy()[1]).min() > 0


# ---- probabilistic PCA ---------------------------------------------------------------------------


def ppca_log_likelihood(x, latent):
    """The greatest mean log-likelihood of N(m, W W^T + s^2 I) (Tipping and Bishop 1999, section
    3.2): s^2 is the mean of the eigenvalues left out."""
    d = x.shape[1]
    values = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
    noise = values[latent:].mean()
    logs = np.log(values[:latent]).sum() + (d - latent) * math.log(noise)
    return -0.5 * (d * math.log(2 * math.pi) + logs + d)


def exact_log_likelihood(model, x):
    """log N(x; b, W W^T + s^2 I) (N,) of a linear decoder."""
    w, b = (p.data for p in model.decoder.out.parameters())
    variance = math.exp(2 * model.likelihood.log_sigma.item())
    covariance = w @ w.T + variance * np.eye(len(w))
    centred = x - b
    distances = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred)
    return -0.5 * (np.linalg.slogdet(2 * math.pi * covariance)[1] + distances)


def correlated(n, d, latent):
    factors = normal(latent, d, seed="factors") * np.array([[2.0], [1.0]])
    return normal(n, latent, seed="z") @ factors + 0.4 * normal(n, d, seed="rest") + 1


def test_a_linear_vae_reaches_probabilistic_pca():
    """Its optimum is tight (Lucas et al. 2019): ELBO, exact likelihood and PPCA's agree to 1e-3.

    The reconstruction is a quadratic of the noise, so 2 latent points of mean 0 and covariance I
    give its expectation exactly, and training has no noise at all.
    """
    n, d, latent = 100, 6, 2
    x = correlated(n, d, latent)
    best = ppca_log_likelihood(x, latent)
    config = VAEConfig((d,), latent, (), likelihood="gaussian", sigma="shared")
    model = VAE(config, rng=generator()).to(dtype="float64")
    points = math.sqrt(latent) * np.concat([np.eye(latent), -np.eye(latent)])
    noise = np.repeat(points, n, axis=0)
    repeated = np.tile(x, (2 * latent, 1))
    steps = 1500
    optimizer = tg.optim.Adam(model.parameters(), lr=3e-2)
    schedule = tg.optim.Cosine(steps)
    for step in range(steps):
        loss = model.loss(repeated, noise=noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(schedule(step))
    reached = exact_log_likelihood(model, x).mean()
    assert -loss.item() <= reached + 1e-9 <= best + 2e-9  # a bound of a bound
    assert best + loss.item() <= 1e-3
    # q(z | x) is now the posterior, and every importance weight is p(x) itself.
    with model.inference():
        weights = np.stack([model.iwae(x, 1, rng=generator(i)).numpy() for i in range(3)])
    assert abs(weights - exact_log_likelihood(model, x)).max() <= 0.3


# ---- evidence ------------------------------------------------------------------------------------


def test_importance_sampling_finds_the_exact_likelihood():
    """A linear model's log p(x) is known; q is off, and 10,000 samples make up for it."""
    x = correlated(8, 6, 2)
    config = VAEConfig((6,), 2, (), likelihood="gaussian", sigma="shared")
    model = VAE(config, rng=generator()).to(dtype="float64")
    for p in model.encoder.parameters():
        p.data *= 0.3
    exact = exact_log_likelihood(model, x)
    runs = np.stack(
        [log_likelihood(model, x, samples=10_000, rng=generator(i), batch=5).each for i in range(6)]
    )
    error = runs.std(axis=0, ddof=1) / math.sqrt(6)
    assert (abs(runs.mean(axis=0) - exact) <= 5 * error + 1e-4).all()
    found = log_likelihood(model, x, samples=100, rng=generator())
    assert found.each.dtype == np.float64
    assert found.mean == found.each.mean()
    assert found.standard_error == pytest.approx(found.each.std(ddof=1) / math.sqrt(8))
    assert "nats" in str(found)


def test_log_likelihood_is_iwae_whatever_the_batches(monkeypatch):
    monkeypatch.setattr("tinygen.models.vae.evidence.ROWS", 12)
    model = model64(classes=2)
    x, y = data_for(model, 5), np.array([0, 1, 1, 0, 1])
    found = log_likelihood(model, x, y, samples=7, rng=generator(), batch=3).each
    rng, pieces = generator(), []
    for part in (slice(0, 3), slice(3, 5)):
        noise = np.concat([rng.normal((k, len(x[part]), 2), "float64") for k in (4, 3)])
        pieces.append(model.iwae(x[part], 7, y[part], noise=noise).numpy())
    assert np.allclose(found, np.concat(pieces), rtol=1e-12)
    with pytest.raises(UsageError, match="samples is 0"):
        log_likelihood(model, x, y, samples=0, rng=generator())
    with pytest.raises(ShapeError, match=r"labels y have shape \(1,\)"):  # not one for all
        model.loss(x, y[:1], rng=generator())
    with pytest.raises(ShapeError, match="two examples"):
        log_likelihood(model, x[:1], y[:1], rng=generator())


def test_an_anomaly_scores_higher():
    """After training on one pattern, its negative is the anomaly."""
    model = VAE(VAEConfig((8,), 2, (16,)), rng=generator())
    pattern = np.tile(np.float32([1, 1, 1, 1, 0, 0, 0, 0]), (32, 1))
    optimizer = tg.optim.AdamW(model.parameters(), lr=1e-2)
    rng = generator("training")
    for _ in range(100):
        loss = model.loss(pattern, rng=rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = np.concat([pattern[:4], 1 - pattern[:4]])
    for samples in (1, 20):
        score = anomaly_score(model, x, samples=samples, rng=rng)
        assert score.shape == (8,)
        assert score[:4].max() + 5 < score[4:].min()


# ---- use -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", KINDS)
def test_samples_and_reconstructions_have_the_shape_of_the_data(likelihood):
    model = model64(shape=(4, 4, 1), channels=(3,), likelihood=likelihood, **KINDS[likelihood])
    x = data_for(model, 3)
    drawn = model.sample(3, rng=generator())
    assert drawn.shape == x.shape
    assert drawn.dtype.kind == x.dtype.kind
    model.loss(drawn, rng=generator())  # a sample is data again
    mean = model.sample(3, noise=normal(3, 2), mean=True)
    assert np.array_equal(mean, model.mean(normal(3, 2)))
    assert np.array_equal(model.reconstruct(x), model.mean(model.encode(x)[0].numpy()))
    assert not np.array_equal(model.reconstruct(x, rng=generator()), model.reconstruct(x))
    assert np.array_equal(model.sample(3, rng=generator(1)), model.sample(3, rng=generator(1)))
    assert model.training


def test_a_conditional_vae_listens_to_its_label():
    model = model64(classes=3)
    x, noise = data_for(model, 3), normal(3, 2)
    losses = [model.loss(x, np.full(3, label), noise=noise).item() for label in range(3)]
    assert len(set(losses)) == 3
    samples = [model.sample(3, np.full(3, label), noise=noise, mean=True) for label in range(3)]
    assert not np.array_equal(samples[0], samples[1])


def test_float32_data_meet_a_float64_model_and_the_reverse():
    model = model64(likelihood="gaussian")
    x = data_for(model, 3).astype("float32")
    assert model.elbo(x, noise=normal(3, 2)).dtype == np.float64
    model.to(dtype="float32")
    assert model.elbo(x.astype("float64"), rng=generator()).dtype == np.float32


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.loss(np.zeros((2, 4)), rng=generator()), ShapeError, r"\(2, 4\)"),
        (lambda m: m.loss(np.zeros((2, 5))), UsageError, "rng"),
        (lambda m: m.loss(np.zeros((2, 5)), noise=np.zeros((3, 2))), ShapeError, r"\(3, 2\)"),
        (lambda m: m.loss(np.zeros((2, 5)), np.zeros(2, int), rng=generator()), UsageError, "None"),
        (
            lambda m: m.iwae(np.zeros((2, 5)), 2, noise=np.zeros((3, 2, 2))),
            ShapeError,
            r"\(3, 2, 2\)",
        ),
        (lambda m: m.iwae(np.zeros((2, 5)), 0, rng=generator()), UsageError, "samples is 0"),
        (lambda m: m.iwae(np.zeros((2, 5)), 2, rng=generator(), chunk=0), UsageError, "chunk is 0"),
        (lambda m: m.iwae(np.zeros((2, 5)), 1.5, rng=generator()), UsageError, "samples is 1.5"),
        (lambda m: m.loss(np.zeros((0, 5)), rng=generator()), ShapeError, r"shape \(0, 5\)"),
        (lambda m: m.loss([[0.0] * 5], rng=generator()), DtypeError, "not list"),
        (lambda m: m.loss(np.zeros((2, 5)), rng=generator(), beta=math.nan), UsageError, "beta"),
        (lambda m: m.loss(np.zeros((2, 5)), rng=generator(), free_bits=-1), UsageError, "free_b"),
        (
            lambda m: anomaly_score(m, np.zeros((2, 5)), samples=0, rng=0),
            UsageError,
            "samples is 0",
        ),
        (lambda m: kl_warmup(-1, 4), UsageError, "step is -1"),
        (lambda m: kl_warmup(1, 4, math.nan), UsageError, "beta is nan"),
    ],
)
def test_bad_input_is_explained(call, error, message):
    with pytest.raises(error, match=message):
        call(model64())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"latent": 0}, "latent is 0"),
        ({"hidden": (4, 0)}, r"hidden\[1\] is 0"),
        ({"data_shape": ()}, r"data_shape is \(\)"),
        ({"likelihood": "poisson"}, "'poisson'"),
        ({"activation": "step"}, "'step'"),
        ({"channels": (4,)}, "images"),
        ({"data_shape": (2, 2, 1), "channels": (4, 4)}, "large enough"),
        ({"likelihood": "categorical", "levels": 1}, "levels is 1"),
    ],
)
def test_an_impossible_config_is_explained(change, message):
    with pytest.raises(UsageError, match=message):
        VAE(VAEConfig(**{"data_shape": (5,), "latent": 2, **change}), rng=generator())
