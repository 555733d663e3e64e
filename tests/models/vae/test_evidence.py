"""The evidence log p(x): a linear VAE against probabilistic PCA, importance sampling, anomalies."""

import math

import numpy as np
import pytest
from small_vae import data_for, generator, model64, normal

import tinygen as tg
from tinygen.errors import ShapeError, UsageError
from tinygen.models.vae import VAE, VAEConfig, anomaly_score, log_likelihood


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
