"""The MLP denoiser, every network under every model, and what training makes of the ring."""

import math

import numpy as np
import pytest
from mixture import Mixture, last

import tinygen as tg
from tinygen import optim
from tinygen.errors import OutOfRangeError, ShapeError, UsageError
from tinygen.models.diffusion import (
    DDPM,
    EDM,
    DiT,
    DiTConfig,
    Flow,
    MLPConfig,
    MLPDenoiser,
    Prediction,
    Schedule,
    UNet,
    UNetConfig,
    guide,
    karras_sigmas,
    log_likelihood,
    sample_ddim,
    sample_heun,
)


def generator(seed=0):
    return tg.random.Generator(seed)


def network(shape=(2,), width=16, depth=2, classes=None, seed=0):
    config = MLPConfig(shape, width=width, depth=depth, classes=classes)
    return MLPDenoiser(config, rng=generator(seed))


def stirred(model):
    """The same with weights at random, the last layer's too."""
    for i, p in enumerate(model.parameters()):
        p.data[...] += 0.3 * generator(i).normal(p.shape, p.dtype)
    return model


@pytest.mark.parametrize("shape", [(2,), (8, 8, 1), (3, 1, 2), (1,)])
@pytest.mark.parametrize("n", [0, 1, 5])
def test_a_prediction_has_the_shape_of_x_and_starts_at_zero(shape, n):
    model = network(shape)
    x = generator().normal((n, *shape))
    t = np.full(n, 3.0, "float32")
    assert model(x, t).shape == x.shape
    assert not model(x, t).numpy().any()
    if n:
        assert stirred(model)(x, t).numpy().any()


def test_it_is_the_function_that_it_says():
    """Written out in NumPy from the weights by name."""
    model = stirred(network((3,), width=4, depth=2, classes=5).to(dtype="float64"))
    w = model.state_dict()
    x, t, y = generator().normal((6, 3), "float64"), np.linspace(0, 900, 6), np.arange(6)

    def linear(h, name):
        return h @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0)

    def silu(h):
        return h / (1 + np.exp(-h))

    def norm(h, name):
        h = h - h.mean(-1, keepdims=True)
        h = h / np.sqrt((h * h).mean(-1, keepdims=True) + 1e-5)
        return h * w[f"{name}.weight"] + w[f"{name}.bias"]

    angles = t[:, None] * np.array([1.0, 0.01])
    waves = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    c = silu(linear(silu(linear(waves, "time.hidden")), "time.out") + w["label.weight"][y])
    h = linear(x, "input")
    for i in range(2):
        inner = linear(norm(h, f"blocks.{i}.norm"), f"blocks.{i}.up") + linear(
            c, f"blocks.{i}.cond"
        )
        h = h + linear(silu(inner), f"blocks.{i}.down")
    assert np.allclose(model(x, t, y).numpy(), linear(norm(h, "norm"), "output"), rtol=1e-10)


def test_every_example_has_its_own_time_and_class():
    model = stirred(network(classes=3).to(dtype="float64"))
    x, t, y = generator().normal((4, 2), "float64"), np.array([0.0, 10, 500, 999]), np.arange(4)
    together = model(x, t, y).numpy()
    for i in range(4):
        alone = model(x[i : i + 1], t[i : i + 1], y[i : i + 1]).numpy()
        assert np.allclose(alone[0], together[i], rtol=1e-12)
    assert np.array_equal(model(x, t).numpy(), model(x, t, np.full(4, 3)).numpy())  # 3 is no class
    assert not np.allclose(model(x, t, y * 0).numpy(), model(x, t, y * 0 + 1).numpy())
    assert np.array_equal(model(x, 7).numpy(), model(x, np.full(4, 7.0)).numpy())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: network()(np.ones((2, 3)), np.ones(2)), ShapeError, r"\(2, 3\)"),
        (lambda: network()(np.ones((2, 2), "float32"), np.ones(3)), ValueError, "3"),
        (
            lambda: network()(np.ones((2, 2), "float32"), 1.0, np.zeros(2, int)),
            UsageError,
            "no classes",
        ),
        (
            lambda: network(classes=2)(np.ones((1, 2), "float32"), 1.0, np.array([3])),
            OutOfRangeError,
            "3",
        ),
        (lambda: MLPConfig((2,), width=7), UsageError, "width is 7"),
        (lambda: MLPConfig((2, 0)), UsageError, r"data_shape\[1\] is 0"),
        (lambda: MLPConfig(2), UsageError, "a tuple of sizes"),
        (lambda: MLPConfig((2,), classes=0), UsageError, "classes is 0"),
    ],
)
def test_bad_input_is_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ---- networks under models

NETWORKS = {
    "mlp": lambda rng: MLPDenoiser(MLPConfig((8, 8, 1), width=8, depth=1, classes=3), rng=rng),
    "unet": lambda rng: UNet(
        UNetConfig(1, base=8, multipliers=(1, 2), blocks=1, attention=(), classes=3), rng=rng
    ),
    "dit": lambda rng: DiT(
        DiTConfig(size=8, channels=1, patch=4, width=16, depth=1, n_head=2, classes=3), rng=rng
    ),
}
MODELS = {
    "ddpm": lambda network: DDPM(network, Schedule.cosine(20), Prediction.V),
    "edm": EDM,
    "flow": Flow,
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_every_network_serves_every_model(network, model):
    model = model(network(generator()))
    x0, y = generator().normal((2, 8, 8, 1)), np.array([0, 2])
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(3):
        loss = model.loss(x0, y, rng=generator(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[0]
    with model.inference():
        sigmas = karras_sigmas(3, 0.05, 5.0)
        x = 5 * generator().normal((2, 8, 8, 1))
        end = last(sample_heun(guide(model.denoise, y, 2.0), x, sigmas)).x
        assert end.shape == x.shape
        assert end.dtype == np.float32
        assert np.isfinite(end).all()
        if isinstance(model, DDPM):
            times = model.schedule.timesteps(3)
            end = last(sample_ddim(guide(model.denoise_at, y, 2.0), x, model.schedule, times)).x
            assert np.isfinite(end).all()


# ---- training on eight points in a ring

CENTRES = 2 * np.stack([f(np.arange(8) * math.pi / 4) for f in (np.cos, np.sin)], axis=1)
RING = Mixture(np.full(8, 1 / 8), CENTRES, np.full(8, 0.1))
MODE = 0.35
"""A sample is on a mode if it is nearer than 3.5 standard deviations, like 99.8 % of the data."""


def points(n, rng):
    noise = 0.1 * rng.normal((n, 2), "float64")
    return (CENTRES[rng.integers(8, shape=n)] + noise).astype("float32")


def kernel_distance(a, b, width=0.5):
    """Squared maximum mean discrepancy under a Gaussian kernel (Gretton et al. 2012, eq. 3), with
    the pairs of a point with itself left out, so that its expectation is 0 for equal laws."""

    def mean(u, v, same):
        square = ((u[:, None] - v) ** 2).sum(axis=-1)
        k = np.exp(-square / (2 * width**2))
        return (k.sum() - same * len(u)) / (len(u) * (len(v) - same))

    return mean(a, a, 1) + mean(b, b, 1) - 2 * mean(a, b, 0)


def trained(model, steps, batch, lr):
    rng = generator("training")
    optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    schedule = optim.Cosine(steps, warmup=50)
    for step in range(steps):
        loss = model.loss(points(batch, rng), rng=rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(schedule(step))
    return model


def judged(model, n=1000, steps=20):
    """(kernel distance, share on a mode, modes with at least a third of their share)."""
    rng = generator("sampling")
    with model.inference():
        x = last(
            sample_heun(model.denoise, 50 * rng.normal((n, 2)), karras_sigmas(steps, 0.01, 50))
        ).x
    square = ((x[:, None] - CENTRES) ** 2).sum(axis=-1)
    on = square.min(axis=1) <= MODE**2
    modes = (np.bincount(square[on].argmin(axis=1), minlength=8) >= n / 24).sum()
    return kernel_distance(x, points(n, rng)), on.mean(), modes


def test_a_flow_learns_the_ring():
    """600 steps, a few seconds of one core: all eight modes, at a twelfth of the kernel
    distance of the best single Gaussian."""
    model = Flow(network(width=64, depth=2))
    distance, on_a_mode, modes = judged(trained(model, 600, 256, 1e-2))
    rng = generator("gaussian")
    gaussian = math.sqrt(2.01) * rng.normal((1000, 2))  # the ring's own mean and covariance
    ceiling = kernel_distance(gaussian, points(1000, rng))
    assert modes == 8
    assert distance <= ceiling / 12
    assert on_a_mode >= 0.6


@pytest.mark.deep
@pytest.mark.parametrize(
    "model",
    [Flow, lambda n: EDM(n, sigma_data=1.4), lambda n: DDPM(n, Schedule.cosine(), Prediction.V)],
    ids=["flow", "edm", "ddpm"],
)
def test_longer_training_learns_it_well(model):
    model = trained(model(network(width=64, depth=3)), 4000, 256, 5e-3)
    distance, on_a_mode, modes = judged(model)
    assert modes == 8
    assert on_a_mode >= 0.9
    assert distance <= 2.5e-3


@pytest.mark.deep
def test_the_likelihood_of_a_trained_model_comes_near_the_truth():
    """Mean log p of fresh points, in nats, at most the truth and within 0.15 of it."""
    model = trained(EDM(network(width=64, depth=3), sigma_data=1.4), 4000, 256, 5e-3).eval()
    x = points(500, generator("fresh")).astype("float64")
    truth = RING.log_density(x, 0.0).mean()
    found = log_likelihood(
        model.denoise, x.astype("float32"), sigma_min=0.01, data_std=1.4, rtol=1e-4, atol=1e-4
    ).nats.mean()
    assert truth - 0.15 <= found <= truth + 0.02
