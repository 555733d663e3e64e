"""The players' steps: who is touched by which, what they minimise, and that they learn."""

import math

import numpy as np
import pytest

import tinygen as tg
from tinygen import optim
from tinygen.data import synthetic
from tinygen.errors import ShapeError, UsageError
from tinygen.models.gan import (
    LOSSES,
    DiffAugment,
    Discriminator,
    Duel,
    GANConfig,
    Generator,
    Hinge,
    NonSaturating,
    Objective,
    Relativistic,
    Wasserstein,
    gradient_penalty,
    r1,
    r2,
)


def generator(seed=0):
    return tg.random.Generator(seed)


CONFIGS = {
    "points": GANConfig((2,), latent=3, hidden=(8, 8)),
    "spectral": GANConfig((2,), latent=3, hidden=(8,), discriminator_norm="spectral", classes=3),
    "dcgan": GANConfig((16, 16, 1), 3, "dcgan", base=2, discriminator_norm="batch"),
    "conditional": GANConfig(
        (8, 8, 1), 3, "dcgan", base=2, classes=3, conditioning="batch_norm",
        discriminator_norm="spectral",
    ),
}  # fmt: skip


def duel(name, objective=None, *, dtype="float32", ema=False, lr=1e-2, beta2=0.99):
    config = CONFIGS[name]
    g = Generator(config, rng=generator("g")).to(dtype=dtype)
    d = Discriminator(config, rng=generator("d")).to(dtype=dtype)
    players = (optim.Adam(m.parameters(), lr, (0.0, beta2)) for m in (g, d))
    return Duel(g, d, *players, objective, ema=optim.EMA(g, 0.9) if ema else None)


def batch(name, n=6, dtype="float32"):
    config = CONFIGS[name]
    real = np.tanh(generator("real").normal((n, *config.data_shape), dtype))
    z = generator("z").normal((n, config.latent), dtype)
    y = None if config.classes is None else np.arange(n) % config.classes
    return real, z, y


def bits(module):
    return {name: value.tobytes() for name, value in module.state_dict().items()}


def differing(a, b):
    return {name for name in a if a[name] != b[name]}


def parameters_and_buffers(module):
    return ({n for n, _ in found} for found in (module.named_parameters(), module.named_buffers()))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("loss", ["hinge", "relativistic"])
def test_a_step_of_g_leaves_every_bit_of_d(name, loss):
    """Parameters, gradients, running statistics and the vectors of spectral norms."""
    players = duel(name, Objective(LOSSES[loss]))
    real, z, y = batch(name)
    d_before, g_before = bits(players.discriminator), bits(players.generator)
    versions = [t.version for t in players.discriminator.parameters()]
    players.generator_step(players.generator(z, y), real, y)
    assert bits(players.discriminator) == d_before
    assert all(p.grad is None for p in players.discriminator.parameters())
    assert all(p.requires_grad for p in players.discriminator.parameters())
    assert [t.version for t in players.discriminator.parameters()] == versions
    weights, buffers = parameters_and_buffers(players.generator)
    assert differing(bits(players.generator), g_before) >= buffers
    assert differing(bits(players.generator), g_before) & weights


@pytest.mark.parametrize("name", CONFIGS)
def test_a_step_of_d_leaves_every_bit_of_g(name):
    players = duel(name)
    real, z, y = batch(name)
    d_before, g_before = bits(players.discriminator), bits(players.generator)
    players.discriminator_step(real, players.fakes(z, y), y)
    assert bits(players.generator) == g_before
    assert all(p.grad is None for p in players.generator.parameters())
    weights, buffers = parameters_and_buffers(players.discriminator)
    moved = differing(bits(players.discriminator), d_before)
    assert moved & weights
    assert moved & buffers or not buffers


@pytest.mark.parametrize("name", CONFIGS)
def test_fakes_are_what_g_makes_in_training(name):
    """The same samples as with a graph, batch statistics and all, but nothing moves."""
    players = duel(name)
    _, z, y = batch(name)
    before = bits(players.generator)
    fake = players.fakes(z, y)
    assert type(fake) is np.ndarray
    assert bits(players.generator) == before
    assert np.array_equal(fake, players.generator(z, y).numpy())


@pytest.mark.parametrize("name", CONFIGS)
def test_one_step_is_a_step_of_d_then_one_of_g(name):
    real, z, y = batch(name)
    together, apart = (duel(name, Objective(Relativistic()), ema=True) for _ in range(2))
    told = together.step(real, z, y)
    fake = apart.generator(z, y)
    steps = apart.discriminator_step(real, fake.detach().numpy(), y)
    steps |= apart.generator_step(fake, real, y)
    assert told == steps
    for player in ("generator", "discriminator"):
        assert bits(getattr(together, player)) == bits(getattr(apart, player))
    average = together.ema.state_dict()
    assert average.keys() == together.generator.state_dict().keys()
    assert any(
        not np.array_equal(v, together.generator.state_dict()[k]) for k, v in average.items()
    )


PENALISED = {
    "r1": Objective(NonSaturating(), r1=0.7),
    "r2": Objective(Hinge(), r2=0.3),
    "R3GAN": Objective(Relativistic(), r1=0.5, r2=0.25),
    "WGAN-GP": Objective(Wasserstein(), gradient_penalty=10.0),
}


@pytest.mark.parametrize("name", PENALISED)
def test_the_loss_is_the_sum_of_its_parts(name):
    o = PENALISED[name]
    players = duel("points", o, dtype="float64")
    d, (real, z, _) = players.discriminator, batch("points", dtype="float64")
    fake = players.fakes(z)
    loss, real_scores, fake_scores, penalty = players.discriminator_loss(
        real, fake, rng=generator("mix")
    )
    mix = generator("mix").uniform((len(real),), dtype="float64")
    parts = o.r1 * r1(d, real) + o.r2 * r2(d, fake)
    parts = parts + o.gradient_penalty * gradient_penalty(d, real, fake, mix=mix)
    plain = o.loss.discriminator(d(real), d(fake))
    assert np.abs(real_scores.numpy() - d(real).numpy()).max() <= 1e-14
    assert np.abs(fake_scores.numpy() - d(fake).numpy()).max() <= 1e-14
    assert abs(penalty - parts.item()) <= 1e-14 * penalty
    assert abs(loss.item() - (plain + parts).item()) <= 1e-14 * (1 + abs(loss.item()))
    # And so are the gradients.
    loss.backward()
    found = [p.grad.numpy() for p in d.parameters()]
    for p in d.parameters():
        p.grad = None
    (o.loss.discriminator(d(real), d(fake)) + parts).backward()
    for p, gradient in zip(d.parameters(), found, strict=True):
        exact = p.grad.numpy()
        assert np.abs(gradient - exact).max() <= 1e-12 * max(1e-3, np.abs(exact).max())


def test_gradients_of_g_pass_through_the_augmentation():
    """d/dfake of L_G(D(T(fake))), with the very draws that were used."""
    players = duel("dcgan", Objective(Hinge(), augment=DiffAugment()), dtype="float64")
    real, z, _ = batch("dcgan", dtype="float64")
    fake = tg.tensor(players.fakes(z), requires_grad=True)
    players.generator_loss(fake, real, rng=generator("T")).backward()
    again = tg.tensor(fake.numpy().copy(), requires_grad=True)
    with tg.freeze(players.discriminator):
        seen = DiffAugment()(again, rng=generator("T"))
        (-players.discriminator(seen).mean()).backward()
    assert np.array_equal(fake.grad.numpy(), again.grad.numpy())
    assert fake.grad.numpy().any()


def test_two_time_scales_and_clipping():
    players = duel("points", Objective(Wasserstein(), clip=0.05))
    players.generator_optimizer.groups[0]["lr"] = 0.0
    real, z, _ = batch("points")
    before = bits(players.generator)
    for _ in range(3):
        players.step(real, z)
    assert bits(players.generator) == before
    for p in players.discriminator.parameters():
        assert np.abs(p.numpy()).max() <= np.float32(0.05)
    frozen = bits(players.discriminator)
    players.step(real, z, lr_factor=0.0)
    assert bits(players.discriminator) == frozen


def test_metrics():
    players = duel("points", Objective(NonSaturating(), r1=0.1))
    real, z, _ = batch("points")
    scores = players.discriminator(real).numpy(), players.discriminator(players.fakes(z)).numpy()
    told = players.step(real, z)
    assert abs(told["real_score"] - scores[0].mean()) <= 1e-6
    assert abs(told["fake_score"] - scores[1].mean()) <= 1e-6
    assert told["accuracy"] == (scores[0] > scores[1]).mean()
    norms = {
        "g_grad_norm": [p.grad for p in players.generator.parameters()],
        "d_grad_norm": [p.grad for p in players.discriminator.parameters()],
    }
    for name, grads in norms.items():
        exact = np.sqrt(sum((g.numpy().astype("float64") ** 2).sum() for g in grads))
        assert abs(told[name] - exact) <= 1e-5 * exact
    assert told["penalty"] > 0
    assert all(isinstance(value, float) for value in told.values())


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_moves_samples_to_the_data(name):
    """One mode at (2, -1): after 80 steps the average generator's samples are there."""
    penalties = {"gradient_penalty": 1.0} if name == "wasserstein" else {"r1": 0.1, "r2": 0.1}
    players = duel("points", Objective(LOSSES[name], **penalties), ema=True, lr=1e-2, beta2=0.9)
    data, rng = synthetic.GaussianMixture.isotropic([[2.0, -1.0]], 0.3), generator("data")
    g = players.generator

    def distance():
        with players.ema.swap():
            return np.linalg.norm(g.sample(200, rng=generator(1)).mean(0) - [2.0, -1.0])

    def real():
        return data.sample(32, rng)

    def noise():
        return g.noise(32, rng=rng)

    start = distance()
    for _ in range(80):
        for _ in range(4 if name == "wasserstein" else 0):  # its D has to be near its best
            players.discriminator_step(real(), players.fakes(noise()), rng=rng)
        players.step(real(), noise(), rng=rng)
    assert distance() < 0.5 * start


def test_refusals():
    players = duel("points", Objective(Wasserstein(), gradient_penalty=1.0))
    real, z, _ = batch("points")
    with pytest.raises(UsageError, match=r"rng=\.\.\."):
        players.step(real, z)
    with pytest.raises(UsageError, match="6 real examples and 5 latent"):
        players.step(real, z[:5], rng=generator())
    with pytest.raises(ShapeError, match=r"shape \(0, 2\)"):
        players.step(real[:0], z[:0], rng=generator())
    with pytest.raises(UsageError, match="r1 is -1"):
        Objective(r1=-1)
    with pytest.raises(UsageError, match="gradient_penalty is nan"):
        Objective(gradient_penalty=math.nan)
    with pytest.raises(UsageError, match="clip is 0"):
        Objective(clip=0)
    paired = duel("points", Objective(Relativistic()))
    with pytest.raises(UsageError, match="give `real`"):
        paired.generator_step(paired.generator(z))
    with pytest.raises(UsageError, match="batch normalisation"):
        duel("dcgan", Objective(r1=1.0))
