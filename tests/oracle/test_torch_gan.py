"""DCGAN and the losses against PyTorch: outputs, every gradient, running statistics, float64."""

import numpy as np
import pytest

import tinygen as tg
from tinygen.models.gan import LOSSES, Discriminator, GANConfig, Generator, gradient_penalty, r1

torch = pytest.importorskip("torch")
F = torch.nn.functional

BASE, LATENT, CHANNELS = 3, 5, 2


def generator(seed=0):
    return tg.random.Generator(seed)


def config(**changes):
    settings = {"latent": LATENT, "architecture": "dcgan", "base": BASE} | changes
    return GANConfig((32, 32, CHANNELS), **settings)


def shaken(module):
    """In float64, with values in which every parameter matters."""
    module.to(dtype="float64")
    for name, p in module.named_parameters():
        p.data[...] += 0.2 * generator(name).normal(p.shape, "float64")
    return module


def from_hwc(weight):
    """(O, kH, kW, I) -> (O, I, kH, kW), for both kinds of convolution."""
    return weight.transpose(0, 3, 1, 2)


def put(module, **values):
    with torch.no_grad():
        for name, value in values.items():
            getattr(module, name).copy_(torch.from_numpy(np.ascontiguousarray(value)))


def torch_generator(ours):
    up, b = torch.nn.ConvTranspose2d, BASE
    net = torch.nn.Sequential(
        up(LATENT, 4 * b, 4, 1, 0, bias=False),
        torch.nn.BatchNorm2d(4 * b),
        torch.nn.ReLU(),
        up(4 * b, 2 * b, 4, 2, 1, bias=False),
        torch.nn.BatchNorm2d(2 * b),
        torch.nn.ReLU(),
        up(2 * b, b, 4, 2, 1, bias=False),
        torch.nn.BatchNorm2d(b),
        torch.nn.ReLU(),
        up(b, CHANNELS, 4, 2, 1),
        torch.nn.Tanh(),
    ).double()
    project = ours.body.project.weight.data.reshape(4, 4, 4 * b, LATENT)
    put(net[0], weight=project.transpose(3, 2, 0, 1))
    for i, (place, layer) in enumerate(zip((3, 6, 9), ours.body.ups, strict=True)):
        put(net[place], weight=from_hwc(layer.weight.data))
        norm = ours.body.norms[i]
        put(net[place - 2], weight=norm.weight.data, bias=norm.bias.data)
    put(net[9], bias=ours.body.ups[2].bias.data)
    return net


def torch_discriminator(ours):
    down, b = torch.nn.Conv2d, BASE
    batch = bool(ours.body.norms)
    norms = [torch.nn.BatchNorm2d(k * b) if batch else torch.nn.Identity() for k in (2, 4)]
    net = torch.nn.Sequential(
        down(CHANNELS, b, 4, 2, 1),
        torch.nn.LeakyReLU(0.2),
        down(b, 2 * b, 4, 2, 1, bias=not batch),
        norms[0],
        torch.nn.LeakyReLU(0.2),
        down(2 * b, 4 * b, 4, 2, 1, bias=not batch),
        norms[1],
        torch.nn.LeakyReLU(0.2),
        down(4 * b, 1, 4, 1, 0),
        torch.nn.Flatten(0),
    ).double()
    for place, layer in zip((0, 2, 5), ours.body.downs, strict=True):
        put(net[place], weight=from_hwc(layer.weight.data))
        if layer.bias is not None:
            put(net[place], bias=layer.bias.data)
    for place, norm in zip((3, 6), ours.body.norms, strict=False):
        put(net[place], weight=norm.weight.data, bias=norm.bias.data)
    head = ours.head.out
    put(net[8], weight=from_hwc(head.weight.data.reshape(1, 4, 4, 4 * b)), bias=head.bias.data)
    return net


def nchw(x):
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def close(ours, theirs, name=""):
    theirs = np.asarray(theirs)
    error = np.abs(ours.reshape(theirs.shape) - theirs).max()
    assert error <= 1e-12 * max(1.0, np.abs(theirs).max()), name


def numpy(t, *order):
    array = t.detach().numpy()
    return array.transpose(order) if order else array


def test_generator():
    ours = shaken(Generator(config(), rng=generator()))
    theirs = torch_generator(ours)
    z = generator("z").normal((4, LATENT), "float64")
    g = generator("g").normal((4, 32, 32, CHANNELS), "float64")
    leaf = tg.tensor(z, requires_grad=True)
    x = ours(leaf)
    their_z = torch.from_numpy(z).requires_grad_()
    their_x = theirs(their_z.view(4, LATENT, 1, 1))
    close(x.numpy(), numpy(their_x, 0, 2, 3, 1), "x")
    x.backward(g)
    their_x.backward(nchw(g))
    close(leaf.grad.numpy(), numpy(their_z.grad), "z")
    grad = numpy(theirs[0].weight.grad, 2, 3, 1, 0)
    close(ours.body.project.weight.grad.numpy(), grad.reshape(-1, LATENT), "project")
    for place, layer, norm in zip((3, 6, 9), ours.body.ups, ours.body.norms, strict=True):
        close(layer.weight.grad.numpy(), numpy(theirs[place].weight.grad, 0, 2, 3, 1), "up")
        their_norm = theirs[place - 2]
        close(norm.weight.grad.numpy(), numpy(their_norm.weight.grad), "norm weight")
        close(norm.bias.grad.numpy(), numpy(their_norm.bias.grad), "norm bias")
        close(norm.running_mean.numpy(), numpy(their_norm.running_mean), "running mean")
        close(norm.running_var.numpy(), numpy(their_norm.running_var), "running variance")
    close(ours.body.ups[2].bias.grad.numpy(), numpy(theirs[9].bias.grad), "bias")
    ours.eval()
    theirs.eval()
    with torch.no_grad():
        their_x = theirs(torch.from_numpy(z).view(4, LATENT, 1, 1))
    close(ours(z).data, numpy(their_x, 0, 2, 3, 1), "eval")


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_discriminator(norm):
    ours = shaken(Discriminator(config(discriminator_norm=norm), rng=generator()))
    theirs = torch_discriminator(ours)
    x = generator("x").normal((4, 32, 32, CHANNELS), "float64")
    g = generator("g").normal((4,), "float64")
    leaf = tg.tensor(x, requires_grad=True)
    scores = ours(leaf)
    their_leaf = nchw(x).requires_grad_()
    their_scores = theirs(their_leaf)
    close(scores.numpy(), numpy(their_scores), "scores")
    scores.backward(g)
    their_scores.backward(torch.from_numpy(g))
    close(leaf.grad.numpy(), numpy(their_leaf.grad, 0, 2, 3, 1), "x")
    for place, layer in zip((0, 2, 5), ours.body.downs, strict=True):
        close(layer.weight.grad.numpy(), numpy(theirs[place].weight.grad, 0, 2, 3, 1), "down")
    head = numpy(theirs[8].weight.grad, 0, 2, 3, 1).reshape(1, -1)
    close(ours.head.out.weight.grad.numpy(), head, "head")
    close(ours.head.out.bias.grad.numpy(), numpy(theirs[8].bias.grad), "head bias")
    for place, layer in zip((3, 6), ours.body.norms, strict=False):
        close(layer.running_var.numpy(), numpy(theirs[place].running_var), "running variance")
        close(layer.weight.grad.numpy(), numpy(theirs[place].weight.grad), "norm weight")


def test_penalties_and_their_gradients():
    ours = shaken(Discriminator(config(), rng=generator()))
    theirs = torch_discriminator(ours)
    real, fake = (generator(s).normal((3, 32, 32, CHANNELS), "float64") for s in "rf")
    mix = generator("mix").uniform((3,), dtype="float64")

    def their_slopes(x):
        leaf = x.clone().requires_grad_()
        (g,) = torch.autograd.grad(theirs(leaf).sum(), leaf, create_graph=True)
        return g.flatten(1)

    share = torch.from_numpy(mix).view(3, 1, 1, 1)
    pairs = {
        "r1": (r1(ours, real), lambda: (their_slopes(nchw(real)) ** 2).sum(1).mean() / 2),
        "gradient_penalty": (
            gradient_penalty(ours, real, fake, mix=mix),
            lambda: (
                (their_slopes(share * nchw(real) + (1 - share) * nchw(fake)).norm(dim=1) - 1)
                .square()
                .mean()
            ),
        ),
    }
    for name, (value, their) in pairs.items():
        their_value = their()
        close(value.numpy(), numpy(their_value), name)
        ours_by_name = dict(ours.named_parameters())
        for p in ours_by_name.values():
            p.grad = None
        theirs.zero_grad()
        value.backward()
        their_value.backward()
        for place, layer in zip((0, 2, 5), ours.body.downs, strict=True):
            close(layer.weight.grad.numpy(), numpy(theirs[place].weight.grad, 0, 2, 3, 1), name)
        head = numpy(theirs[8].weight.grad, 0, 2, 3, 1).reshape(1, -1)
        close(ours.head.out.weight.grad.numpy(), head, name)


def mean(x):
    return x.mean()


THEIRS = {
    "non-saturating": (
        lambda r, f: (
            F.binary_cross_entropy_with_logits(r, torch.ones_like(r))
            + F.binary_cross_entropy_with_logits(f, torch.zeros_like(f))
        ),
        lambda f, r: F.binary_cross_entropy_with_logits(f, torch.ones_like(f)),
    ),
    "minimax": (
        lambda r, f: (
            F.binary_cross_entropy_with_logits(r, torch.ones_like(r))
            + F.binary_cross_entropy_with_logits(f, torch.zeros_like(f))
        ),
        lambda f, r: -F.binary_cross_entropy_with_logits(f, torch.zeros_like(f)),
    ),
    "least-squares": (
        lambda r, f: (F.mse_loss(r, torch.ones_like(r)) + F.mse_loss(f, torch.zeros_like(f))) / 2,
        lambda f, r: F.mse_loss(f, torch.ones_like(f)) / 2,
    ),
    "hinge": (
        lambda r, f: F.relu(1 - r).mean() + F.relu(1 + f).mean(),
        lambda f, r: -f.mean(),
    ),
    "wasserstein": (lambda r, f: f.mean() - r.mean(), lambda f, r: -f.mean()),
    "relativistic": (
        lambda r, f: -F.logsigmoid(r - f).mean(),
        lambda f, r: -F.logsigmoid(f - r).mean(),
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    scores = [3 * generator(s).normal((9,), "float64") for s in "rf"]
    for player, their in zip(("discriminator", "generator"), THEIRS[name], strict=True):
        given = scores if player == "discriminator" else scores[::-1]
        leaves = [tg.tensor(s, requires_grad=True) for s in given]
        their_leaves = [torch.from_numpy(s).requires_grad_() for s in given]
        value = getattr(LOSSES[name], player)(*leaves)
        their_value = their(*their_leaves)
        close(value.numpy(), numpy(their_value), player)
        value.backward()
        their_value.backward()
        for leaf, their_leaf in zip(leaves, their_leaves, strict=True):
            if their_leaf.grad is None:
                assert leaf.grad is None
            else:
                close(leaf.grad.numpy(), numpy(their_leaf.grad), player)
