"""Generator and discriminator: shapes, classes, projection, spectral norms, initial weights."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygen as tg
from tinygen import nn
from tinygen.errors import DtypeError, OutOfRangeError, ShapeError, UsageError
from tinygen.models.gan import Discriminator, GANConfig, Generator
from tinygen.models.gan.dcgan import ClassBatchNorm, stages


def generator(seed=0):
    return tg.random.Generator(seed)


CONFIGS = {
    "points": GANConfig((2,), latent=3, hidden=(7, 5)),
    "points, no hidden layer": GANConfig((2,), latent=3, hidden=()),
    "points with classes": GANConfig((3,), latent=2, hidden=(6,), classes=4),
    "flat images": GANConfig((5, 4, 2), latent=3, hidden=(6,), discriminator_norm="spectral"),
    "8x8": GANConfig((8, 8, 1), latent=4, architecture="dcgan", base=3),
    "16x16": GANConfig((16, 16, 3), 4, "dcgan", base=2, discriminator_norm="batch", classes=2),
    "28x28": GANConfig(
        (28, 28, 1),
        4,
        "dcgan",
        base=2,
        classes=10,
        conditioning="batch_norm",
        discriminator_norm="spectral",
    ),
    "32x32": GANConfig((32, 32, 3), 4, "dcgan", base=2, generator_norm="none"),
    "24x16": GANConfig((24, 16, 1), 4, "dcgan", base=2),
}


def classes(config, n, seed="y"):
    if config.classes is None:
        return None
    return generator(seed).integers(0, config.classes, (n,))


def pair(name):
    config = CONFIGS[name]
    return Generator(config, rng=generator("g")), Discriminator(config, rng=generator("d"))


@pytest.mark.parametrize("name", CONFIGS)
def test_shapes_and_dtypes(name):
    config = CONFIGS[name]
    g, d = pair(name)
    for n in (5, 2):
        y = classes(config, n)
        x = g(g.noise(n, rng=generator()), y)
        assert x.shape == (n, *config.data_shape)
        assert x.dtype == np.float32
        if config.is_image:
            assert np.abs(x.numpy()).max() <= 1
        scores = d(x, y)
        assert scores.shape == (n,)
        assert scores.dtype == np.float32
    # In float64 too, and arrays in, Tensors out, since the weights are Tensors.
    y = classes(config, 3)
    z = generator().normal((3, config.latent), "float64")
    assert d.to(dtype="float64")(g.to(dtype="float64")(z, y), y).dtype == np.float64


@pytest.mark.parametrize("name", CONFIGS)
def test_every_parameter_learns(name):
    g, d = pair(name)
    config = CONFIGS[name]
    y = classes(config, 6)
    if config.classes is not None:
        y = np.arange(6) % config.classes
    d(g(g.noise(6, rng=generator()), y), y).sum().backward()
    for module in (g, d):
        for label, p in module.named_parameters():
            assert p.grad is not None, label
            if p.shape[:1] != (config.classes,):
                assert p.grad.numpy().any(), label


def test_sides_and_channels():
    found = {
        side: stages(GANConfig((side, side, 1), architecture="dcgan", base=4))
        for side in (6, 8, 16, 28, 32, 64)
    }
    assert found == {
        6: ([4], (3, 3)),
        8: ([4], (4, 4)),
        16: ([4, 8], (4, 4)),
        28: ([4, 8], (7, 7)),
        32: ([4, 8, 16], (4, 4)),
        64: ([4, 8, 16, 32], (4, 4)),
    }


def test_samples_are_reproducible_and_leave_the_model_alone():
    g, _ = pair("16x16")
    before, y = g.state_dict(), np.array([0, 1, 1])
    x = g.sample(3, y, rng=generator(1))
    assert type(x) is np.ndarray
    assert np.array_equal(x, g.sample(3, y, rng=generator(1)))
    assert not np.array_equal(x, g.sample(3, y, rng=generator(2)))
    assert g.training
    assert all(np.array_equal(before[k], v) for k, v in g.state_dict().items())
    # Eval mode: a sample does not depend on the others of its batch.
    z = g.noise(3, rng=generator(1))
    with g.inference():
        alone = np.concatenate([g(z[i : i + 1], y[i : i + 1]).numpy() for i in range(3)])
    assert np.abs(alone - x).max() <= 1e-5


# ---- classes -------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(n=st.integers(1, 5), seed=st.integers(0, 99))
@pytest.mark.parametrize("name", ["points with classes", "16x16", "28x28"])
def test_projection_is_its_formula(name, n, seed):
    """score = w.h + b + v_y.h (Miyato and Koyama 2018, eq. 3), with loops, h from the body."""
    config = CONFIGS[name]
    d = Discriminator(config, rng=generator(seed)).to(dtype="float64").eval()
    x = generator(seed).normal((n, *config.data_shape), "float64")
    y = classes(config, n, seed)
    h = d.body(x).numpy()
    out, project = d.head.out, d.head.project
    if isinstance(out, nn.SpectralNorm):
        w, b, v = (
            out.normalised().numpy()[0],
            out.module.bias.numpy()[0],
            project.normalised().numpy(),
        )
    else:
        w, b, v = out.weight.numpy()[0], out.bias.numpy()[0], project.weight.numpy()
    scores = d(x, y).numpy()
    for i, k in enumerate(y):
        exact = math.fsum(w * h[i]) + b + math.fsum(v[k] * h[i])
        size = np.abs(w * h[i]).sum() + abs(b) + np.abs(v[k] * h[i]).sum()
        assert abs(scores[i] - exact) <= 1e-14 * len(w) * size


def test_the_difference_between_two_classes_is_linear_in_the_features():
    """D(x, a) - D(x, b) = (v_a - v_b).h: what the projection adds, and nothing else."""
    d = Discriminator(CONFIGS["points with classes"], rng=generator()).to(dtype="float64")
    x = generator("x").normal((4, 3), "float64")
    h, v = d.body(x).numpy(), d.head.project.weight.numpy()
    for a, b in itertools.product(range(4), repeat=2):
        found = d(x, np.full(4, a)).numpy() - d(x, np.full(4, b)).numpy()
        assert np.abs(found - h @ (v[a] - v[b])).max() <= 1e-13


def test_class_batch_norm_is_batch_norm_with_weights_by_class():
    layer = ClassBatchNorm(3, 2, rng=generator()).to(dtype="float64")
    layer.weight.data[...] = generator("w").normal((2, 3), "float64")
    layer.bias.data[...] = generator("b").normal((2, 3), "float64")
    x = 3 + generator("x").normal((4, 2, 2, 3), "float64")
    y = np.array([0, 1, 1, 0])
    found = layer(x, y).numpy()
    centred = x - x.mean((0, 1, 2))
    normal = centred / np.sqrt((centred**2).mean((0, 1, 2)) + 1e-5)
    for i, k in enumerate(y):
        exact = normal[i] * layer.weight.numpy()[k] + layer.bias.numpy()[k]
        assert np.abs(found[i] - exact).max() <= 1e-13
    # With weight 1 and bias 0 it is plain batch norm.
    layer.weight.data[...], layer.bias.data[...] = 1, 0
    assert np.array_equal(layer(x, y).numpy(), nn.BatchNorm2d(3).to(dtype="float64")(x).numpy())


def test_classes_differ_from_the_start():
    layer = ClassBatchNorm(64, 100, rng=generator())
    for p, centre in ((layer.weight, 1), (layer.bias, 0)):
        assert abs(p.numpy().mean() - centre) <= 0.2 * 5 / math.sqrt(p.size)
        assert abs(p.numpy().std() / 0.2 - 1) <= 5 / math.sqrt(2 * p.size)


@pytest.mark.parametrize("name", ["points with classes", "28x28"])
def test_the_class_matters(name):
    config = CONFIGS[name]
    g = Generator(config, rng=generator())
    for _, p in g.named_parameters():
        p.data[...] += 0.2 * generator(f"{p.shape}").normal(p.shape)
    z = g.noise(1, rng=generator())
    with g.inference():
        x = [g(z, np.array([k])).numpy() for k in range(config.classes)]
    for a, b in itertools.combinations(x, 2):
        assert np.abs(a - b).max() > 1e-4


# ---- spectral norm -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["flat images", "28x28"])
def test_every_layer_of_the_discriminator_has_spectral_norm_1(name):
    """Against the SVD, once the power iteration has converged."""
    d = Discriminator(CONFIGS[name], rng=generator()).to(dtype="float64")
    x, y = np.zeros((2, *CONFIGS[name].data_shape)), classes(CONFIGS[name], 2)
    for _ in range(400):
        d(x, y)
    layers = [m for m in d.modules() if isinstance(m, nn.SpectralNorm)]
    assert len(layers) == len(d.body.layers if name == "flat images" else d.body.downs) + 1 + (
        CONFIGS[name].classes is not None
    )
    d.eval()
    for layer in layers:
        sigma = np.linalg.svd(layer.matrix(layer.module.weight.data), compute_uv=False)[0]
        assert abs(layer.sigma() - sigma) <= 1e-6 * sigma
        largest = np.linalg.svd(layer.matrix(layer.normalised().data), compute_uv=False)[0]
        assert abs(largest - 1) <= 1e-6


@given(seed=st.integers(0, 99))
@settings(max_examples=10)
def test_a_spectrally_normed_discriminator_is_lipschitz(seed):
    """|D(a) - D(b)| <= |a - b|: a leaky ReLU has slopes in [0, 1]."""
    d = Discriminator(CONFIGS["flat images"], rng=generator(seed)).to(dtype="float64")
    a, b = (generator(f"{seed}{s}").normal((20, 5, 4, 2), "float64") for s in "ab")
    for _ in range(200):
        d(a)
    d.eval()
    distance = np.sqrt(((a - b) ** 2).sum((1, 2, 3)))
    assert (np.abs(d(a).numpy() - d(b).numpy()) <= distance * (1 + 1e-3)).all()


# ---- initial weights and refusals ----------------------------------------------------------------


def test_dcgan_starts_as_the_paper_says():
    config = GANConfig((32, 32, 3), 100, "dcgan", base=16, discriminator_norm="batch")
    g, d = Generator(config, rng=generator()), Discriminator(config, rng=generator())
    for name, p in [*g.named_parameters(), *d.named_parameters()]:
        values = p.numpy()
        if name.startswith("head"):
            continue
        if name.endswith("bias"):
            assert not values.any(), name
        else:
            centre = 1 if "norms" in name else 0
            limit = 6 / math.sqrt(p.size)
            assert abs(values.mean() - centre) <= 0.02 * limit, name
            assert abs(values.std() / 0.02 - 1) <= limit, name
    assert not any("bias" in n for n, _ in g.named_parameters() if "ups.0" in n or "project" in n)


def test_refusals():
    g, d = pair("points with classes")
    z, x, y = np.zeros((2, 2), np.float32), np.zeros((2, 3), np.float32), np.array([0, 1])
    refused = [
        (ShapeError, r"z has shape \(2, 3\); it is \(N, 2\)", lambda: g(x, y)),
        (ShapeError, r"x has shape \(2, 2\); it is \(N, 3\)", lambda: d(z, y)),
        (UsageError, r"need the classes y, \(2,\) integers", lambda: g(z)),
        (ShapeError, r"one an example: \(2,\)", lambda: d(x, y[:1])),
        (DtypeError, "float64; they are integers", lambda: d(x, y * 1.0)),
        (OutOfRangeError, "4", lambda: d(x, y + 3)),
        (UsageError, "unconditional", lambda: pair("points")[0](np.zeros((2, 3), "f"), y)),
        (UsageError, "data_shape", lambda: GANConfig((3, 3))),
        (UsageError, "data_shape", lambda: GANConfig((0,))),
        (UsageError, r"hidden\[0\] is 2\.5", lambda: GANConfig((3,), hidden=(2.5,))),
        (UsageError, "latent is 0", lambda: GANConfig((3,), latent=0)),
        (UsageError, "slope is nan", lambda: GANConfig((3,), slope=math.nan)),
        (UsageError, "makes images", lambda: GANConfig((3,), architecture="dcgan")),
        (UsageError, "needs", lambda: GANConfig((3,), classes=2, conditioning="batch_norm")),
        (UsageError, "only a DCGAN", lambda: GANConfig((3,), discriminator_norm="batch")),
        (
            UsageError,
            "9x8 cannot be halved",
            lambda: Generator(GANConfig((9, 8, 1), architecture="dcgan"), rng=generator()),
        ),
        (
            UsageError,
            "'DCGAN'; use one of mlp, dcgan",
            lambda: GANConfig((8,), architecture="DCGAN"),
        ),
        (UsageError, "'spectal'", lambda: GANConfig((8,), discriminator_norm="spectal")),
    ]
    for error, words, call in refused:
        with pytest.raises(error, match=words):
            call()
