"""Penalties on the discriminator's slope: closed forms, and finite differences of the slope."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygen as tg
from tinygen import ops
from tinygen.errors import ShapeError, UsageError
from tinygen.grad_mode import enable_grad
from tinygen.models.gan import (
    Discriminator,
    GANConfig,
    clip_weights,
    gradient_penalty,
    r1,
    r2,
)
from tinygen.models.gan.penalties import batch_norm_of, one_centred, zero_centred
from tinygen.testing import check_grad

U = 2.0**-53


def generator(seed=0):
    return tg.random.Generator(seed)


def draw(*shape, seed="x"):
    return generator(f"{seed}{shape}").normal(shape, "float64")


shapes = st.tuples(st.integers(1, 5), st.integers(1, 4))


@given(shape=shapes, target=st.sampled_from([0.0, 1.0, 2.5]), seed=st.integers(0, 99))
def test_linear_discriminator(shape, target, seed):
    """D(x) = w.x has slope w everywhere: (|w| - target)^2 and |w|^2 / 2, whatever x and mix are."""
    n, d = shape
    w = tg.tensor(draw(d, seed=seed), requires_grad=True)

    def critic(x, y=None):
        return ops.matmul(x, w)

    real, fake = draw(n, d, seed="real"), draw(n, d, seed="fake")
    mix = generator(seed).uniform((n,), dtype="float64")
    length = np.linalg.norm(w.numpy())
    gp = gradient_penalty(critic, real, fake, mix=mix, target=target)
    scale = (length + target) ** 2
    assert abs(gp.item() - (length - target) ** 2) <= 32 * (n + d) * U * scale
    assert abs(r1(critic, real).item() - length**2 / 2) <= 32 * (n + d) * U * length**2
    assert r2(critic, fake).item() == r1(critic, real).item()
    # The gradient: d/dw (|w| - t)^2 = 2 (1 - t / |w|) w, and d/dw |w|^2 / 2 = w.
    gp.backward()
    exact = 2 * (1 - target / length) * w.numpy()
    assert np.abs(w.grad.numpy() - exact).max() <= 64 * (n + d) * U * (length + target)
    w.grad = None
    r1(critic, real).backward()
    assert np.abs(w.grad.numpy() - w.numpy()).max() <= 32 * (n + d) * U * length


@given(shape=shapes, seed=st.integers(0, 99))
def test_quadratic_discriminator(shape, seed):
    """D(x) = x.A x / 2 with A symmetric has slope A x at x."""
    n, d = shape
    a = draw(d, d, seed=seed)
    a = a + a.T

    def critic(x, y=None):
        return 0.5 * ops.sum(ops.matmul(x, a) * x, axis=1)

    real, fake = draw(n, d, seed="real"), draw(n, d, seed="fake")
    mix = generator(seed).uniform((n,), dtype="float64")
    between = mix[:, None] * real + (1 - mix[:, None]) * fake
    lengths = np.linalg.norm(between @ a, axis=1)
    tolerance = 64 * (n + d) ** 2 * U * (1 + (np.abs(between) @ np.abs(a)) ** 2).sum()
    gp = gradient_penalty(critic, real, fake, mix=mix)
    assert abs(gp.item() - np.mean((lengths - 1) ** 2)) <= tolerance
    exact = np.mean(np.sum((real @ a) ** 2, axis=1)) / 2
    tolerance = 64 * (n + d) ** 2 * U * ((np.abs(real) @ np.abs(a)) ** 2).sum()
    assert abs(r1(critic, real).item() - exact) <= tolerance


@settings(max_examples=20)
@given(n=st.integers(1, 4), scale=st.floats(0.5, 4))
def test_scaling_the_scores_scales_the_penalty(n, scale):
    config = GANConfig((3,), hidden=(5,))
    d = Discriminator(config, rng=generator()).to(dtype="float64")
    x = draw(n, 3)
    one = r1(d, x).item()
    scaled = r1(lambda x, y=None: scale * d(x), x).item()
    assert abs(scaled - scale**2 * one) <= 64 * U * scaled


def one_by_one(discriminator, x, y):
    """|d D(x_n)/d x_n|^2 of one example at a time."""
    total = 0.0
    for i in range(len(x)):
        leaf = tg.tensor(x[i : i + 1], requires_grad=True)
        discriminator(leaf, None if y is None else y[i : i + 1]).sum().backward()
        total += float((leaf.grad.numpy() ** 2).sum())
    return total / len(x) / 2


CONFIGS = {
    "points": GANConfig((3,), hidden=(7, 5)),
    "flat images": GANConfig((3, 2, 2), hidden=(6,), classes=3),
    "spectral": GANConfig((3,), hidden=(7, 5), discriminator_norm="spectral", classes=2),
    "dcgan": GANConfig((8, 8, 2), architecture="dcgan", base=3, classes=3),
}


def discriminator(name):
    d = Discriminator(CONFIGS[name], rng=generator(name)).to(dtype="float64").eval()
    for p in d.parameters():
        p.data[...] += 0.3 * generator(f"{p.shape}").normal(p.shape, "float64")
    return d


def examples(name, n):
    config = CONFIGS[name]
    y = None if config.classes is None else generator(n).integers(0, config.classes, (n,))
    return draw(n, *config.data_shape), y


@pytest.mark.parametrize("name", CONFIGS)
def test_the_gradient_of_the_sum_is_that_of_each_example(name):
    d = discriminator(name)
    x, y = examples(name, 4)
    together = r1(d, x, y).item()
    assert abs(together - one_by_one(d, x, y)) <= 1e-12 * together
    assert r1(d, x[:0], None if y is None else y[:0]).item() == 0


@pytest.mark.parametrize("name", CONFIGS)
def test_slope_against_finite_differences_of_the_scores(name):
    """Central differences of D along random directions give g.v."""
    d = discriminator(name)
    x, y = examples(name, 3)
    leaf = tg.tensor(x, requires_grad=True)
    d(leaf, y).sum().backward()
    with tg.no_grad():
        for seed in range(3):
            v = draw(*x.shape, seed=seed)
            h = 1e-6
            difference = (d(x + h * v, y).numpy() - d(x - h * v, y).numpy()).sum() / (2 * h)
            found = (leaf.grad.numpy() * v).sum()
            assert abs(difference - found) <= 1e-7 * np.abs(leaf.grad.numpy() * v).sum()


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("penalty", ["r1", "gradient_penalty"])
def test_gradient_of_the_penalty_by_every_parameter(name, penalty):
    """Against central differences of the penalty itself, which is a function of gradient norms."""
    d = discriminator(name)
    x, y = examples(name, 3)
    fake = draw(*x.shape, seed="fake")
    mix = generator(1).uniform((3,), dtype="float64")
    parameters = d.parameters()

    def value():
        if penalty == "r1":
            return r1(d, x, y)
        return gradient_penalty(d, x, fake, y, mix=mix)

    value().backward()
    for p in parameters:
        v = draw(*p.shape, seed="v")
        slope = 0.0 if p.grad is None else float((p.grad.numpy() * v).sum())
        size = 0.0 if p.grad is None else float(np.abs(p.grad.numpy() * v).sum())
        start, h = p.data.copy(), 1e-6
        ends = []
        for sign in (1, -1):
            p.data[...] = start + sign * h * v
            ends.append(value().item())
        p.data[...] = start
        difference = (ends[0] - ends[1]) / (2 * h)
        assert abs(difference - slope) <= 1e-6 * size + 1e-9 * abs(ends[0])


def smooth_critic(w1, b1, w2):
    def critic(x, y=None):
        return ops.matmul(ops.tanh(ops.matmul(x, w1) + b1), w2)

    return critic


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_penalty_of_a_smooth_discriminator_to_the_second_order(target):
    """check_grad, orders 1 and 2, by weights: third derivatives of D take part."""
    x = draw(4, 3)

    def centred(w1, b1, w2):
        with enable_grad():  # check_grad takes values without a graph; a slope needs one
            leaf = tg.tensor(x, requires_grad=True)
            (g,) = tg.grad(smooth_critic(w1, b1, w2)(leaf).sum(), leaf, create_graph=True)
            return one_centred(g, target) if target else zero_centred(g)

    check_grad(centred, draw(3, 5), draw(5), draw(5, seed="w2"), order=2)


def test_at_a_flat_point_the_penalty_has_a_gradient_of_zero_not_nan():
    w = tg.tensor(np.zeros(3), requires_grad=True)
    mix = np.full(2, 0.5)
    gp = gradient_penalty(lambda x, y=None: ops.matmul(x, w), draw(2, 3), draw(2, 3), mix=mix)
    assert gp.item() == 1
    gp.backward()
    assert (w.grad.numpy() == 0).all()


@given(mix=st.sampled_from([0.0, 1.0]))
def test_mix_places_x_between_real_and_fake(mix):
    seen = []

    def critic(x, y=None):
        seen.append(x.numpy().copy())
        return ops.sum(x, axis=1)

    real, fake = np.arange(6.0).reshape(2, 3), -np.ones((2, 3))
    gradient_penalty(critic, real, fake, mix=np.full(2, mix))
    assert (seen[0] == (real if mix else fake)).all()


def test_clipping():
    d = Discriminator(GANConfig((2,), hidden=(4,)), rng=generator())
    before = d.state_dict()
    versions = [p.version for p in d.parameters()]
    clip_weights(d, 0.1)
    for name, after in d.state_dict().items():
        assert (after == np.clip(before[name], np.float32(-0.1), np.float32(0.1))).all()
    assert [p.version for p in d.parameters()] == [v + 1 for v in versions]


def test_refusals():
    d = Discriminator(GANConfig((2,), hidden=(4,)), rng=generator())
    x = np.zeros((3, 2), np.float32)
    with pytest.raises(ShapeError, match=r"mix \(2,\)"):
        gradient_penalty(d, x, x, mix=np.zeros(2, np.float32))
    with pytest.raises(ShapeError, match="one shape"):
        gradient_penalty(d, x, x[:2], mix=np.zeros(3, np.float32))
    with pytest.raises(UsageError, match="positive"):
        clip_weights(d, 0.0)
    config = GANConfig((8, 8, 1), architecture="dcgan", base=2, discriminator_norm="batch")
    assert batch_norm_of(d) is None
    # 8x8 has one stage, whose norm is left out; 16x16 has two.
    assert batch_norm_of(Discriminator(config, rng=generator())) is None
    config = replace(config, data_shape=(16, 16, 1))
    assert batch_norm_of(Discriminator(config, rng=generator())) == "body.norms.0"
