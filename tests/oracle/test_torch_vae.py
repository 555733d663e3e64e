"""The VAE against an equal model in PyTorch: terms, every gradient, a training run, float64."""

import math

import numpy as np
import pytest

import tinygen as tg
from tinygen.models.vae import VAE, DiscretisedLogistic, VAEConfig

torch = pytest.importorskip("torch")
F = torch.nn.functional


def generator(seed=0):
    return tg.random.Generator(seed)


def pair(config):
    model = VAE(config, rng=generator()).to(dtype="float64")
    for name, p in model.named_parameters():
        p.data[...] += 0.1 * generator(name).normal(p.shape, "float64")
    weights = {k: torch.tensor(v, requires_grad=True) for k, v in model.state_dict().items()}
    return model, weights


def linear(w, x, name):
    return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def mlp_terms(w, x, noise, label):
    """log p(x | z) and log p(z) / q(z | x) of each z of noise (..., N, latent)."""
    given = x if label is None else torch.cat([x, label], 1)
    h = F.relu(linear(w, F.relu(linear(w, given, "encoder.body.0")), "encoder.body.1"))
    mu, logvar = linear(w, h, "encoder.out").chunk(2, 1)
    q = torch.distributions.Normal(mu, torch.exp(0.5 * logvar))
    z = mu + q.scale * noise
    latent = z if label is None else torch.cat([z, label.expand(*z.shape[:-1], -1)], -1)
    h = F.relu(linear(w, F.relu(linear(w, latent, "decoder.body.0")), "decoder.body.1"))
    logits = linear(w, h, "decoder.out")
    log_p = torch.distributions.Bernoulli(logits=logits).log_prob(x.expand_as(logits)).sum(-1)
    prior = torch.distributions.Normal(torch.zeros_like(mu), torch.ones_like(mu))
    kl = torch.distributions.kl_divergence(q, prior).sum(-1)
    return log_p, (prior.log_prob(z) - q.log_prob(z)).sum(-1), kl


def gradients_agree(model, weights):
    assert weights.keys() == dict(model.named_parameters()).keys()
    for name, p in model.named_parameters():
        theirs = weights[name].grad.numpy()
        assert abs(p.grad.numpy() - theirs).max() <= 1e-11 * abs(theirs).max(), name


@pytest.mark.parametrize("classes", [None, 3])
def test_loss_and_gradients_of_an_mlp(classes):
    model, w = pair(VAEConfig((9,), 4, (8, 6), classes=classes))
    x = (generator("x").uniform((5, 9), dtype="float64") < 0.5).astype("float64")
    y = None if classes is None else np.array([0, 2, 1, 1, 0])
    label = None if y is None else torch.tensor(np.eye(3)[y])
    noise = generator("noise").normal((5, 4), "float64")
    loss = model.loss(x, y, noise=noise, beta=0.7)
    log_p, _, kl = mlp_terms(w, torch.tensor(x), torch.tensor(noise), label)
    expected = (0.7 * kl - log_p).mean()
    assert abs(loss.item() - expected.item()) <= 1e-13 * abs(expected.item())
    loss.backward()
    expected.backward()
    gradients_agree(model, w)


def test_iwae_and_its_gradients():
    model, w = pair(VAEConfig((9,), 4, (8, 6)))
    x = (generator("x").uniform((5, 9), dtype="float64") < 0.5).astype("float64")
    noise = generator("noise").normal((6, 5, 4), "float64")
    log_p, ratio, _ = mlp_terms(w, torch.tensor(x), torch.tensor(noise), None)
    expected = torch.logsumexp(log_p + ratio, 0) - math.log(6)
    bound = model.iwae(x, 6, noise=noise, chunk=4)
    assert np.allclose(bound.numpy(), expected.detach().numpy(), rtol=1e-13)
    bound.mean().backward()
    expected.mean().backward()
    gradients_agree(model, w)


def test_loss_and_gradients_of_a_convolutional_model():
    shape, P = (7, 6, 2), 3
    config = VAEConfig(shape, 3, (5,), channels=(3, 4), likelihood="categorical", levels=P)
    model, w = pair(config)
    x = generator("x").integers(0, P, (4, *shape))
    noise = generator("noise").normal((4, 3), "float64")

    def kernel(name):  # (C_out, kH, kW, C_in) -> (C_out, C_in, kH, kW)
        return w[f"{name}.weight"].permute(0, 3, 1, 2), w[f"{name}.bias"]

    h = torch.tensor(x).permute(0, 3, 1, 2).double() * (2 / (P - 1)) - 1
    for i in (0, 2):
        h = F.relu(F.conv2d(h, *kernel(f"encoder.convolutions.{i}"), stride=2, padding=1))
    h = h.permute(0, 2, 3, 1).reshape(4, -1)
    mu, logvar = linear(w, F.relu(linear(w, h, "encoder.body.0")), "encoder.out").chunk(2, 1)
    z = mu + torch.exp(0.5 * logvar) * torch.tensor(noise)
    h = F.relu(linear(w, F.relu(linear(w, z, "decoder.body.0")), "decoder.grow.0"))
    h = h.reshape(4, 1, 1, 4).permute(0, 3, 1, 2)
    up = {"stride": 2, "padding": 1}
    h = F.conv_transpose2d(h, *kernel("decoder.convolutions.0"), **up, output_padding=1)
    h = F.conv_transpose2d(F.relu(h), *kernel("decoder.out"), **up, output_padding=(1, 0))
    logits = h.permute(0, 2, 3, 1).reshape(4, 7, 6, 2, P)
    recon = F.cross_entropy(logits.reshape(-1, P), torch.tensor(x).reshape(-1), reduction="sum")
    kl = -0.5 * (1 + logvar - mu * mu - logvar.exp()).sum()
    expected = (recon + kl) / 4
    loss = model.loss(x, noise=noise)
    assert abs(loss.item() - expected.item()) <= 1e-13 * abs(expected.item())
    loss.backward()
    expected.backward()
    gradients_agree(model, w)


def test_a_training_run_has_the_same_losses():
    model, w = pair(VAEConfig((9,), 4, (8, 6)))
    optimizer = tg.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    reference = torch.optim.AdamW(w.values(), lr=1e-2, weight_decay=0.1)
    x = (generator("x").uniform((5, 9), dtype="float64") < 0.5).astype("float64")
    noise = generator("noise").normal((10, 5, 4), "float64")
    ours, theirs = [], []
    for i in range(10):
        loss = model.loss(x, noise=noise[i])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ours.append(loss.item())
        log_p, _, kl = mlp_terms(w, torch.tensor(x), torch.tensor(noise[i]), None)
        expected = (kl - log_p).mean()
        reference.zero_grad()
        expected.backward()
        reference.step()
        theirs.append(expected.item())
    assert np.allclose(ours, theirs, rtol=1e-10)


def test_the_discretised_logistic_is_a_difference_of_distribution_functions():
    levels = 6
    x = generator("x").integers(0, levels, (50, 1))
    params = generator("params").normal((50, 2), "float64")
    m, scale = torch.tensor(params[:, :1]), torch.exp(torch.tensor(params[:, 1:]))
    uniform = torch.distributions.Uniform(torch.zeros(50, 1).double(), torch.ones(50, 1).double())
    steps = [
        torch.distributions.SigmoidTransform().inv,
        torch.distributions.AffineTransform(m, scale),
    ]
    logistic = torch.distributions.TransformedDistribution(uniform, steps, validate_args=False)
    centre = torch.tensor(x).double() * (2 / (levels - 1)) - 1
    upper, lower = (logistic.cdf(centre + s / (levels - 1)) for s in (1, -1))
    upper[torch.tensor(x) == levels - 1] = 1
    lower[torch.tensor(x) == 0] = 0
    expected = torch.log(upper - lower).sum(-1).numpy()
    assert np.allclose(DiscretisedLogistic(levels).log_prob(x, params), expected, rtol=1e-11)
