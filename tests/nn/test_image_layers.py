"""Layers of image models: running statistics, embeddings, blocks that start as the identity."""

import copy
import math

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn, ops
from tinygen.errors import OutOfRangeError, ShapeError, UsageError


def generator(seed=0):
    return tg.random.Generator(seed)


def normal(*shape, seed="inputs", dtype="float64"):
    return generator(seed).normal(shape, dtype)


def perturbed(module):
    """In float64, with no parameter at its initial zero."""
    module.to(dtype="float64")
    for name, p in module.named_parameters():
        p.data[...] += 0.3 * normal(*p.shape, seed=name)
    return module


# ---- batch norm ----------------------------------------------------------------------------------


def statistics(layer):
    return layer.running_mean.numpy().copy(), layer.running_var.numpy().copy()


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_batch_norm_keeps_running_statistics():
    layer = nn.BatchNorm2d(3, momentum=0.25).to(dtype="float64")
    x = normal(8, 2, 2, 3) * 2 + 1
    y = layer(x).numpy()
    assert abs(y.mean((0, 1, 2))).max() <= 1e-14
    assert np.allclose(layer.running_mean.numpy(), 0.25 * x.mean((0, 1, 2)), rtol=1e-13)
    expected = 0.75 + 0.25 * x.var((0, 1, 2), ddof=1)
    assert np.allclose(layer.running_var.numpy(), expected, rtol=1e-13)
    layer.eval()
    before = statistics(layer)
    mean, var = before
    expected = (x - mean) / np.sqrt(var + 1e-5)
    assert np.allclose(layer(x).numpy(), expected, rtol=1e-13, atol=1e-14)
    assert same(statistics(layer), before)
    assert list(layer.state_dict()) == ["weight", "bias", "running_mean", "running_var"]
    assert not nn.BatchNorm2d(3, affine=False).parameters()


def test_frozen_statistics_do_not_move():
    """A generator's step leaves the discriminator as it was, to the bit."""
    layer = nn.BatchNorm2d(3)
    before = statistics(layer)
    x = tg.tensor(normal(4, 2, 2, 3, dtype="float32"), requires_grad=True)
    with tg.freeze(layer):
        y = layer(x)
        assert abs(y.numpy().mean()) <= 1e-6  # still normalised by the batch
        (y * y * y).sum().backward()
    assert same(statistics(layer), before)
    assert layer.weight.grad is None
    assert abs(x.grad.numpy()).max() > 0


def test_a_recomputed_pass_moves_the_statistics_once():
    plain = nn.Sequential(nn.BatchNorm2d(3), nn.Tanh())
    recomputed = copy.deepcopy(plain)
    x = normal(4, 2, 2, 3, dtype="float32")
    gradients = []
    for model, run in ((plain, plain), (recomputed, lambda x: tg.checkpoint(recomputed, x))):
        leaf = tg.tensor(x, requires_grad=True)
        y = run(leaf)
        after_forward = statistics(model[0])
        (y * y * y).sum().backward()
        assert same(statistics(model[0]), after_forward)
        gradients.append(leaf.grad.numpy())
    assert same(statistics(plain[0]), statistics(recomputed[0]))
    assert np.array_equal(*gradients)


def test_a_recomputed_pass_sees_the_same_spectral_norm():
    """The power iteration goes on once: the second pass divides by the same sigma as the first."""
    layer = nn.SpectralNorm(nn.Linear(4, 3, rng=generator()), rng=generator()).to(dtype="float64")
    x, state = normal(2, 4), layer.state_dict()
    found = []
    for run in (layer, lambda x: tg.checkpoint(layer, x)):
        layer.load_state_dict(state)
        y = run(x)
        (y * y).sum().backward()
        weight = layer.module.weight
        found.append((y.numpy(), weight.grad.numpy(), layer.u.numpy().copy()))
        weight.grad = None
    assert same(*found)


def test_two_passes_before_backward():
    """A discriminator sees real and fake images before its one backward pass."""
    layer = nn.BatchNorm2d(3)
    a, b = (layer(normal(4, 2, 2, 3, seed=s, dtype="float32")) for s in "ab")
    (a * a * a).sum().backward()
    first = layer.weight.grad.numpy().copy()
    (b * b * b).sum().backward()
    assert np.isfinite(layer.weight.grad.numpy()).all()
    assert not np.array_equal(layer.weight.grad.numpy(), first)


def test_batch_norm_takes_vectors_and_sequences():
    layer = nn.BatchNorm2d(3).to(dtype="float64")
    x = normal(4, 5, 3)
    y = layer(x).numpy()
    assert np.allclose(layer(x.reshape(20, 3)).numpy(), y.reshape(20, 3), rtol=1e-13)


# ---- embeddings ----------------------------------------------------------------------------------


def test_sinusoids_in_float64():
    t = np.array([0.0, 1.0, 999.0])
    waves = nn.sinusoidal(t, 6)
    expected = [
        [f(time * 10000 ** (-i / 3)) for f in (math.sin, math.cos) for i in range(3)] for time in t
    ]
    assert np.allclose(waves, expected, rtol=0, atol=1e-12)
    assert np.array_equal(nn.sinusoidal(t.astype("float32"), 6), waves)
    assert waves.dtype == np.float64
    layer = nn.TimestepEmbedding(6, 4, rng=generator())
    assert layer(t).dtype == np.float32
    assert layer(np.array([3, 5])).shape == (2, 4)


def test_times_are_told_apart():
    """Neighbouring steps of a thousand are farther apart than rounding in float32, everywhere."""
    waves = nn.sinusoidal(np.arange(1000.0), 64).astype("float32")
    assert np.linalg.norm(np.diff(waves, axis=0), axis=1).min() > 0.5


def test_a_class_and_no_class():
    layer = nn.ClassEmbedding(4, 3, rng=generator())
    ids = np.array([0, 3, 4])
    assert np.array_equal(layer(ids).numpy(), layer.weight.data[ids])
    assert np.array_equal(layer.none(2), [4, 4])
    with pytest.raises(OutOfRangeError, match="5"):
        layer(np.array([5]))


# ---- adaptive norm, blocks -----------------------------------------------------------------------


@pytest.mark.parametrize("groups", [None, 2])
def test_an_adaptive_norm_starts_as_the_plain_norm(groups):
    layer = nn.AdaptiveNorm(6, 4, groups=groups, rng=generator()).to(dtype="float64")
    x, c = normal(3, 2, 2, 6), normal(3, 4, seed="c")
    plain = ops.layer_norm(x) if groups is None else ops.group_norm(x, groups)
    assert np.array_equal(layer(x, c).numpy(), plain)
    perturbed(layer)
    scale, shift = np.split(layer.modulation(c).numpy(), 2, axis=-1)
    expected = plain * (1 + scale[:, None, None]) + shift[:, None, None]
    assert np.allclose(layer(x, c).numpy(), expected, rtol=1e-14)


@pytest.mark.parametrize("scale_shift", [False, True])
def test_a_residual_block_starts_as_its_skip(scale_shift):
    x, c = normal(2, 4, 4, 8, dtype="float32"), normal(2, 5, dtype="float32")
    same_width = nn.ResBlock(8, 8, condition=5, scale_shift=scale_shift, rng=generator())
    assert np.array_equal(same_width(x, c).numpy(), x)
    wider = nn.ResBlock(8, 16, condition=5, scale_shift=scale_shift, rng=generator())
    assert np.array_equal(wider(x, c).numpy(), wider.skip(x).numpy())


def test_an_attention_block_starts_as_the_identity_and_forgets_where_pixels_are():
    block = nn.AttentionBlock(8, 2, groups=2, rng=generator())
    x = normal(2, 3, 4, 8)
    assert np.array_equal(block(x.astype("float32")).numpy(), x.astype("float32"))
    perturbed(block)
    order = generator().permutation(12)
    shuffled = x.reshape(2, 12, 8)[:, order].reshape(2, 3, 4, 8)
    y = block(x).numpy().reshape(2, 12, 8)[:, order]
    assert np.allclose(block(shuffled).numpy().reshape(2, 12, 8), y, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.ResBlock(8, 16, rng=generator()),
        lambda: nn.ResBlock(8, 16, condition=5, dropout=0.2, rng=generator()),
        lambda: nn.ResBlock(8, 8, condition=5, scale_shift=True, rng=generator()),
        lambda: nn.AttentionBlock(8, 2, rng=generator()),
        lambda: nn.AdaptiveNorm(8, 5, groups=4, rng=generator()),
        lambda: nn.Downsample(8, rng=generator()),
        lambda: nn.Upsample(8, rng=generator()),
        lambda: nn.BatchNorm2d(8),
        lambda: nn.GroupNorm(4, 8, activation="silu"),
        lambda: nn.InstanceNorm(8, affine=True),
    ],
)
def test_every_parameter_learns(make):
    layer = perturbed(make())
    x = tg.tensor(normal(2, 4, 4, 8), requires_grad=True)
    conditioned = isinstance(layer, (nn.ResBlock, nn.AdaptiveNorm))
    y = layer(x, normal(2, 5, seed="c")) if conditioned else layer(x)
    y.backward(tg.tensor(normal(*y.shape, seed="g")))
    for name, p in [*layer.named_parameters(), ("x", x)]:
        assert abs(p.grad.numpy()).max() > 0, name


def test_sizes():
    x = normal(2, 5, 6, 8, dtype="float32")
    assert nn.Downsample(8, rng=generator())(x).shape == (2, 3, 3, 8)
    assert nn.Upsample(8, rng=generator())(x).shape == (2, 10, 12, 8)
    plain = nn.Upsample(8, conv=False, rng=generator())
    assert np.array_equal(plain(x), x.repeat(2, 1).repeat(2, 2))
    assert not plain.parameters()
    assert nn.MaxPool2d(2)(x).shape == nn.AvgPool2d(2)(x).shape == (2, 2, 3, 8)
    assert np.array_equal(nn.MaxPool2d(3, stride=1)(x), ops.max_pool2d(x, 3, stride=1))
    kept = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)(np.ones_like(x))
    assert np.array_equal(kept, np.ones_like(x))


def test_layers_show_their_settings():
    found = {
        repr(nn.BatchNorm2d(3)).split("  ")[0]: "BatchNorm2d(3, momentum=0.1)",
        repr(nn.GroupNorm(2, 4, activation="silu")).split("  ")[0]: (
            "GroupNorm(2, 4, activation='silu')"
        ),
        repr(nn.InstanceNorm(3)).split("  ")[0]: "InstanceNorm(3)",
        repr(nn.ClassEmbedding(4, 3, rng=generator())).split("  ")[0]: "ClassEmbedding(4 + 1 x 3)",
    }
    for shown, expected in found.items():
        assert shown == expected


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda r: nn.BatchNorm2d(0), UsageError, "at least 1"),
        (lambda r: nn.BatchNorm2d(3, momentum=1.5), UsageError, "momentum is 1.5"),
        (lambda r: nn.BatchNorm2d(3, momentum="a"), UsageError, "momentum is 'a'"),
        (lambda r: nn.SpectralNorm(nn.Linear(2, 2, rng=r), eps=0, rng=r), UsageError, "eps is 0"),
        (lambda r: nn.GroupNorm(3, 8), UsageError, "multiple of groups"),
        (lambda r: nn.TimestepEmbedding(5, 3, rng=r), UsageError, "must be even"),
        (lambda r: nn.sinusoidal(np.zeros(3), 5), UsageError, "width is 5"),
        (lambda r: nn.sinusoidal(np.zeros((3, 1)), 4), ShapeError, r"\(N,\)"),
        (lambda r: nn.ResBlock(8, 8, scale_shift=True, rng=r), UsageError, "width of the cond"),
        (lambda r: nn.BatchNorm2d(3)(np.ones((1, 3), "float32")), ShapeError, "two values"),
    ],
)
def test_impossible_layers_are_explained(call, error, message):
    with pytest.raises(error, match=message):
        call(generator())
