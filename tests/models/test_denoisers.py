"""The denoisers of diffusion: U-Net and DiT."""

import numpy as np
import pytest

import tinygen as tg
from tinygen import ops, optim
from tinygen.errors import OutOfRangeError, ShapeError, UsageError
from tinygen.models.diffusion import DiT, DiTConfig, UNet, UNetConfig
from tinygen.models.diffusion.dit import grid_positions

UNET = UNetConfig(2, base=8, multipliers=(1, 2, 2), attention=(4,), classes=3, size=8, groups=4)
DIT = DiTConfig(2, size=8, patch=2, width=16, depth=2, n_head=2, classes=3)


def generator(seed=0):
    return tg.random.Generator(seed)


def normal(*shape, seed="inputs", dtype="float32"):
    return generator(seed).normal(shape, dtype)


def build(config, perturb=True):
    """A model, in float64 and with no parameter at its initial zero if perturbed."""
    make = UNet if isinstance(config, UNetConfig) else DiT
    model = make(config, rng=generator())
    if perturb:
        model.to(dtype="float64")
        for name, p in model.named_parameters():
            p.data[...] += 0.1 * normal(*p.shape, seed=name, dtype="float64")
    return model


def changed(config, **options):
    return type(config)(**{**vars(config), **options})


BOTH = pytest.mark.parametrize("config", [UNET, DIT], ids=["UNet", "DiT"])
VARIANTS = {
    "UNet": UNET,
    "one level": changed(UNET, multipliers=(2,), attention=(8,)),
    "scale and shift": changed(UNET, scale_shift=True, blocks=1),
    "plain upsampling, no attention": changed(UNET, upsampling_conv=False, attention=()),
    "attention everywhere": changed(UNET, attention=(8, 4, 2), blocks=1, head_width=8),
    "unconditional": changed(UNET, classes=None, blocks=1),
    "dropout": changed(UNET, dropout=0.1, blocks=1),
    "DiT": DIT,
    "learned positions": changed(DIT, positions="learned"),
    "patches": changed(UNET, patch=2, multipliers=(1, 2), attention=(2,), blocks=1),
    "unconditional DiT": changed(DIT, classes=None),
}


def inputs(config, n=2, dtype="float64"):
    x = normal(n, 8, 8, 2, dtype=dtype)
    t = generator("t").uniform((n,), 0, 1000)
    y = None if config.classes is None else generator("y").integers(0, config.classes, (n,))
    return x, t, y


@pytest.mark.parametrize("name", VARIANTS)
def test_shapes_and_every_parameter_learns(name):
    config = VARIANTS[name]
    model = build(config)
    x, t, y = inputs(config)
    leaf = tg.tensor(x, requires_grad=True)
    prediction = model(leaf, t, y)
    assert prediction.shape == x.shape
    assert prediction.dtype == np.float64
    prediction.backward(tg.tensor(normal(*x.shape, seed="g", dtype="float64")))
    for parameter, p in [*model.named_parameters(), ("x", leaf)]:
        assert abs(p.grad.numpy()).max() > 0, parameter


@BOTH
def test_the_untrained_prediction_is_zero_and_float32(config):
    model = build(config, perturb=False)
    x, t, y = inputs(config, dtype="float32")
    prediction = model(x, t, y)
    assert prediction.dtype == np.float32
    assert not prediction.numpy().any()


@BOTH
def test_no_class_is_the_id_beyond_the_last(config):
    model = build(config)
    x, t, _ = inputs(config)
    none = np.full(2, config.classes)
    assert np.array_equal(model(x, t).numpy(), model(x, t, none).numpy())
    assert abs(model(x, t, none).numpy() - model(x, t, none - 1).numpy()).max() > 1e-3
    with pytest.raises(ShapeError, match=r"classes y have shape \(1,\)"):  # not one for all
        model(x, t, np.array([0]))
    with pytest.raises(OutOfRangeError, match="4"):
        model(x, t, none + 1)


@BOTH
def test_examples_do_not_see_each_other(config):
    """The gradient of one prediction by another's image, time or class is exactly zero."""
    model = build(config)
    x, t, y = inputs(config, n=3)
    leaf = tg.tensor(x, requires_grad=True)
    prediction = model(leaf, t, y)
    (prediction[1] * normal(8, 8, 2, seed="g", dtype="float64")).sum().backward()
    grad = leaf.grad.numpy()
    assert not grad[[0, 2]].any()
    assert grad[1].any()
    alone = model(x[1:2], t[1:2], y[1:2]).numpy()
    assert np.allclose(prediction.numpy()[1:2], alone, rtol=0, atol=1e-12)


@BOTH
def test_time_matters(config):
    model = build(config)
    x, t, y = inputs(config)
    assert abs(model(x, t, y).numpy() - model(x, t + 1, y).numpy()).max() > 1e-6
    assert np.array_equal(model(x, t, y).numpy(), model(x, tg.tensor(t), y).numpy())


@BOTH
def test_second_order_goes_through(config):
    """The divergence of the prediction, which likelihoods need, is differentiable."""
    model = build(changed(config, classes=None))
    x, t, _ = inputs(config, n=1)
    leaf = tg.tensor(x, requires_grad=True)
    v = normal(*x.shape, seed="v", dtype="float64")
    (vjp,) = tg.grad((model(leaf, t) * v).sum(), [leaf], create_graph=True)
    (second,) = tg.grad((vjp * v).sum(), [leaf])
    step = 1e-5

    def product(z):
        point = tg.tensor(z, requires_grad=True)
        (g,) = tg.grad((model(point, t) * v).sum(), [point])
        return (g.numpy() * v).sum()

    w = normal(*x.shape, seed="w", dtype="float64")
    numeric = (product(x + step * w) - product(x - step * w)) / (2 * step)
    assert abs((second.numpy() * w).sum() - numeric) <= 1e-6 * abs(second.numpy() * w).sum()


@BOTH
def test_the_denoiser_learns_a_constant_image(config):
    """With one image to know, the noise is a function of x and t: the loss falls by a factor."""
    model = build(changed(config, classes=None), perturb=False)
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    rng, image = generator("train"), normal(8, 8, 2, seed="image")
    losses = []
    for _ in range(60):
        noise = rng.normal((16, 8, 8, 2))
        a = rng.uniform((16, 1, 1, 1), 0.05, 0.95)
        x = np.sqrt(a) * image + np.sqrt(1 - a) * noise
        loss = ops.mse_loss(model(x, 1000 * a[:, 0, 0, 0]), noise)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(1, abs=0.2)  # a prediction of zero
    assert np.mean(losses[-5:]) <= 0.5 * losses[0]


# ---- U-Net ---------------------------------------------------------------------------------------


def test_a_unet_serves_other_sizes():
    model = build(UNET)
    t, y = np.ones(1), np.zeros(1, int)
    assert model(normal(1, 12, 20, 2, dtype="float64"), t, y).shape == (1, 12, 20, 2)


def test_widths_heights_and_where_attention_stands():
    config = UNetConfig(3)
    assert config.heights == (32, 16, 8)
    assert config.widths == (64, 128, 128)
    names = [n for n, _ in UNet(config, rng=generator()).named_parameters() if "qkv.weight" in n]
    assert names == [
        f"{part}.{i}.attention.attn.qkv.weight" for part in ("down.1", "up.0") for i in range(2)
    ]


def test_the_benchmarks_architecture():
    """Two halvings, one block a level, no attention, plain upsampling: 1,515,715 parameters."""
    config = UNetConfig(
        3, blocks=1, attention=(), condition=128, upsampling_conv=False, multipliers=(1, 2, 2)
    )
    assert UNet(config, rng=generator()).n_parameters == 1_515_715


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 0}, "channels is 0"),
        ({"multipliers": ()}, "multipliers"),
        ({"multipliers": (1, 1.5)}, r"multipliers\[1\] is 1\.5"),
        ({"blocks": "a"}, "blocks is 'a'"),
        ({"classes": 0}, "classes is 0"),
        ({"base": 10}, "multiple of groups"),
        ({"size": 10}, "halved 2 times"),
        ({"attention": (16,)}, r"height 16, but .* \(8, 4, 2\)"),
        ({"head_width": 5}, "heads of 5"),
    ],
)
def test_an_impossible_unet_is_explained(change, message):
    with pytest.raises(UsageError, match=message):
        changed(UNET, **change)


# ---- DiT -----------------------------------------------------------------------------------------


def test_adaln_zero_blocks_start_as_the_identity():
    model = build(DIT, perturb=False)
    x, c = normal(2, 16, 16), normal(2, 16, seed="c")
    for block in model.blocks:
        assert np.array_equal(block(x, c).numpy(), x)


def test_positions_of_a_grid():
    """All different, and those of a row share their first half, of a column their second."""
    table = grid_positions(4, 8).reshape(4, 4, 8)
    assert len(np.unique(table.reshape(16, 8), axis=0)) == 16
    assert (table[:, :, :4] == table[:, :1, :4]).all()
    assert (table[:, :, 4:] == table[:1, :, 4:]).all()
    assert "positions" in dict(build(DIT, perturb=False).named_buffers())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 0}, "depth is 0"),
        ({"width": 4.5}, r"width is 4\.5"),
        ({"patch": 3}, "patches of 3"),
        ({"n_head": 3}, "multiple of 4 and of n_head"),
        ({"positions": "none"}, "'none'"),
    ],
)
def test_an_impossible_dit_is_explained(change, message):
    with pytest.raises(UsageError, match=message):
        changed(DIT, **change)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m, x, t: m(x[:, :, :, :1], t), ShapeError, r"\(2, 8, 8, 1\)"),
        (lambda m, x, t: m(x[:, :7], t), ShapeError, r"\(2, 7, 8, 2\)"),
        (lambda m, x, t: m(x[0], t), ShapeError, r"\(8, 8, 2\)"),
        (lambda m, x, t: m(x, t[:1]), ShapeError, "one time for each of the 2"),
        (lambda m, x, t: m(x, 3.0), ShapeError, "one time for each"),
        (lambda m, x, t: m(x, t, np.zeros(2, int)), UsageError, "leave y out"),
    ],
)
@BOTH
def test_bad_input_is_explained(config, call, error, message):
    model = build(changed(config, classes=None), perturb=False)
    x, t, _ = inputs(config, dtype="float32")
    with pytest.raises(error, match=message):
        call(model, x, t)
