"""The VAE in use: its gradients, samples and labels, and what it refuses."""

import math

import numpy as np
import pytest
from small_vae import KINDS, data_for, generator, model64, normal

import tinygen as tg
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.models.vae import VAE, VAEConfig, anomaly_score, kl_warmup


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


# ---- bad input -----------------------------------------------------------------------------------


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
