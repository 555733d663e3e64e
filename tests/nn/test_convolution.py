"""Convolution layers and spectral normalisation."""

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn, ops
from tinygen.errors import ShapeError, UsageError


def generator(seed=0):
    return tg.random.Generator(seed)


def inputs(*shape):
    return generator("inputs").normal(shape, "float64")


CASES = [
    (nn.Conv2d, (4, 6, (3, 2)), {"stride": (2, 1), "padding": 1, "groups": 2}, (2, 7, 6, 4)),
    (nn.Conv2d, (4, 6, 3), {"dilation": (1, 2), "bias": False}, (2, 7, 6, 4)),
    (nn.Conv1d, (4, 6, 3), {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}, (2, 9, 4)),
    (
        nn.ConvTranspose2d,
        (4, 6, 4),
        {"stride": 2, "padding": 1, "output_padding": (0, 1), "groups": 2},
        (2, 3, 4, 4),
    ),
]
OPS = {
    nn.Conv1d: ops.conv1d,
    nn.Conv2d: ops.conv2d,
    nn.ConvTranspose2d: ops.conv_transpose2d,
}


@pytest.mark.parametrize(("kind", "sizes", "options", "shape"), CASES)
def test_a_layer_is_its_op_with_its_weight(kind, sizes, options, shape):
    layer = kind(*sizes, rng=generator(), **options)
    fan_in = np.prod(layer.weight.shape[1:])
    for parameter in layer.parameters():
        assert abs(parameter.data).max() <= fan_in**-0.5
    assert abs(layer.weight.data).max() >= 0.8 * fan_in**-0.5
    layer.to(dtype="float64")
    x = inputs(*shape)
    bias = options.get("bias", True)
    called = {name: value for name, value in options.items() if name != "bias"}
    assert (layer.bias is not None) == bias
    wanted = OPS[kind](x, layer.weight, layer.bias, **called).numpy()
    assert np.array_equal(layer(x).numpy(), wanted)
    other = tg.tensor(2 * layer.weight.data)
    wanted = OPS[kind](x, other, layer.bias, **called)
    assert np.array_equal(layer(x, other).numpy(), wanted.numpy())


def test_a_transposed_layer_is_the_adjoint_of_the_layer_with_its_weight():
    down = nn.Conv2d(3, 5, 4, stride=2, padding=1, bias=False, rng=generator())
    up = nn.ConvTranspose2d(5, 3, 4, stride=2, padding=1, bias=False, rng=generator(1))
    assert up.weight.shape == down.weight.shape
    up.load_state_dict(down.state_dict())
    down.to(dtype="float64"), up.to(dtype="float64")
    x, y = inputs(2, 8, 6, 3), inputs(2, 4, 3, 5)
    left, right = (down(x).numpy() * y).sum(), (x * up(y).numpy()).sum()
    assert abs(left - right) <= 1e-12 * (abs(x).sum() + abs(y).sum())


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, (2, 5)])
@pytest.mark.parametrize("dilation", [1, 2, 3])
def test_same_padding_keeps_the_sides(kernel, dilation):
    layer = nn.Conv2d(2, 3, kernel, padding="same", dilation=dilation, rng=generator())
    layer.to(dtype="float64")
    x = inputs(1, 5, 6, 2)
    y = layer(x).numpy()
    assert y.shape == (1, 5, 6, 3)
    needed = [dilation * (k - 1) for k in layer.kernel_size]
    around = [(0, 0), *((n // 2, n - n // 2) for n in needed), (0, 0)]
    padded = np.pad(x, around)
    wanted = ops.conv2d(padded, layer.weight, layer.bias, dilation=dilation).numpy()
    assert np.array_equal(y, wanted)
    if isinstance(kernel, int):
        row = nn.Conv1d(2, 3, kernel, padding="same", dilation=dilation, rng=generator())
        assert row(x[0].astype("float32")).shape == (5, 6, 3)


def test_layers_show_their_settings():
    rng = generator()
    lines = {
        "Conv2d(3 -> 8, kernel_size=3)": nn.Conv2d(3, 8, 3, rng=rng),
        "Conv2d(4 -> 8, kernel_size=(1, 3), stride=2, padding=(0, 1), groups=4, bias=False)": (
            nn.Conv2d(4, 8, (1, 3), stride=2, padding=(0, 1), groups=4, bias=False, rng=rng)
        ),
        "Conv1d(3 -> 8, kernel_size=5, padding='same', dilation=2)": (
            nn.Conv1d(3, 8, 5, padding="same", dilation=2, rng=rng)
        ),
        "ConvTranspose2d(8 -> 3, kernel_size=4, stride=2, padding=1, output_padding=1)": (
            nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1, output_padding=1, rng=rng)
        ),
    }
    for line, layer in lines.items():
        assert repr(layer).startswith(line + "  ")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda rng: nn.Conv2d(0, 3, 3, rng=rng), "in_channels is 0"),
        (lambda rng: nn.Conv2d(3, 4, 3, groups=2, rng=rng), "multiple of groups"),
        (lambda rng: nn.Conv2d(4, 3, 3, groups=2, rng=rng), "multiple of groups"),
        (lambda rng: nn.Conv2d(3, 3, 0, rng=rng), "kernel_size is 0"),
        (lambda rng: nn.Conv2d(3, 3, (3, 3, 3), rng=rng), "two for rows and columns"),
        (lambda rng: nn.Conv2d(3, 3, 3, stride=0, rng=rng), "stride is 0"),
        (lambda rng: nn.Conv2d(3, 3, 3, padding=-1, rng=rng), "padding is -1"),
        (lambda rng: nn.Conv2d(3, 3, 3, padding="valid", rng=rng), "padding is 'valid'"),
        (lambda rng: nn.Conv2d(3, 3, 3, padding="same", stride=2, rng=rng), "stride of 1"),
        (lambda rng: nn.Conv1d(3, 3, (3, 3), rng=rng), "kernel_size"),
        (lambda rng: nn.Conv1d(3, 3, 3, padding="same", stride=2, rng=rng), "stride of 1"),
        (lambda rng: nn.ConvTranspose2d(3, 3, 3, dilation=0, rng=rng), "dilation is 0"),
        (lambda rng: nn.ConvTranspose2d(3, 3, 3, output_padding=-1, rng=rng), "output_padding"),
        (lambda rng: nn.SpectralNorm(nn.Tanh(), rng=rng), "no layer with a weight"),
        (lambda rng: nn.SpectralNorm(nn.Linear(2, 2, rng=rng), steps=0, rng=rng), "steps is 0"),
    ],
)
def test_impossible_layers_are_explained(make, says):
    with pytest.raises(UsageError, match=says):
        make(generator())


def test_a_layer_names_the_channels_that_do_not_fit():
    with pytest.raises(ShapeError, match="x has 4 channels"):
        nn.Conv2d(3, 5, 3, rng=generator())(np.zeros((1, 5, 5, 4), "float32"))


# ---- spectral norm -------------------------------------------------------------------------------

LAYERS = {
    "Linear": (lambda rng: nn.Linear(7, 5, rng=rng), (3, 7)),
    "Conv2d": (lambda rng: nn.Conv2d(3, 5, 3, padding=1, rng=rng), (2, 4, 4, 3)),
    "Conv1d": (lambda rng: nn.Conv1d(3, 5, 3, rng=rng), (2, 4, 3)),
    "ConvTranspose2d": (lambda rng: nn.ConvTranspose2d(3, 5, 4, stride=2, rng=rng), (2, 3, 3, 3)),
}


def wrapped(kind, **options):
    make, shape = LAYERS[kind]
    layer = nn.SpectralNorm(make(generator()), rng=generator(1), **options)
    return layer.to(dtype="float64"), inputs(*shape)


def largest_singular_value(layer):
    weight = layer.module.weight.data
    if isinstance(layer.module, nn.ConvTranspose2d):  # the output channels on the last axis
        return np.linalg.svd(weight.reshape(-1, weight.shape[-1]))[1][0]
    return np.linalg.svd(weight.reshape(len(weight), -1))[1][0]


@pytest.mark.parametrize("kind", LAYERS)
def test_the_norm_converges_to_the_largest_singular_value(kind):
    layer, x = wrapped(kind, steps=5)
    sigma = largest_singular_value(layer)
    assert abs(layer.sigma() - sigma) <= 0.1 * sigma  # at the start already
    for _ in range(200):
        y = layer(x)
    assert abs(layer.sigma() - sigma) <= 1e-12 * sigma
    normal = layer.module(x, layer.module.weight.data / sigma)
    assert np.allclose(y.numpy(), normal.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_gradient_takes_the_vectors_as_constants(kind):
    """d<g, W / sigma> = (g - <g, W> u v^T / sigma) / sigma, with sigma = u^T W v."""
    layer, _ = wrapped(kind)
    normal = layer.normalised()
    g = inputs(*normal.shape)
    normal.backward(tg.tensor(g))
    u, v, weight = layer.u.data, layer.v.data, layer.module.weight.data
    sigma = u @ weight.reshape(len(u), len(v)) @ v
    along = np.outer(u, v).reshape(weight.shape)
    wanted = (g - (g * weight).sum() * along / sigma) / sigma
    found = layer.module.weight.grad.numpy()
    assert np.allclose(found, wanted, rtol=0, atol=1e-12 * abs(wanted).max())


def test_the_vectors_move_in_training_alone():
    layer, x = wrapped("Linear")

    def moved(run):
        before = layer.state_dict()
        run()
        after = layer.state_dict()
        assert np.array_equal(before["module.weight"], after["module.weight"])
        return [not np.array_equal(before[name], after[name]) for name in ("u", "v")]

    assert moved(lambda: layer(x)) == [True, True]
    assert moved(lambda: layer.eval()(x)) == [False, False]
    layer.train()
    with tg.freeze(layer):
        assert moved(lambda: layer(x)) == [False, False]
        y = tg.tensor(x, requires_grad=True)
        layer(y).sum().backward()
        assert y.grad is not None
        assert layer.module.weight.grad is None
    assert moved(lambda: layer(x)) == [True, True]


def test_an_earlier_pass_keeps_the_vectors_that_it_saw():
    """Two passes before one backward: real and fake images through one discriminator."""
    layer, x = wrapped("Conv2d")
    first, second = layer(x), layer(2 * x)
    (first.sum() + second.sum()).backward()
    assert np.isfinite(layer.module.weight.grad.numpy()).all()


def test_the_vectors_belong_to_the_state():
    layer, x = wrapped("Conv2d")
    other, _ = wrapped("Conv2d")
    for _ in range(3):
        layer(x)
    other.load_state_dict(layer.state_dict())
    assert sorted(layer.state_dict()) == ["module.bias", "module.weight", "u", "v"]
    assert np.array_equal(other.eval()(x).numpy(), layer.eval()(x).numpy())


def test_a_weight_of_zeros_stays_finite():
    layer, x = wrapped("Linear")
    layer.module.weight.data[...] = 0
    assert np.array_equal(layer(x).numpy(), np.broadcast_to(layer.module.bias.data, (3, 5)))


def test_an_embedding_can_be_normalised():
    layer = nn.SpectralNorm(nn.Embedding(4, 6, rng=generator()), steps=100, rng=generator(1))
    rows = layer(np.arange(4)).numpy()
    assert abs(np.linalg.svd(rows)[1][0] - 1) <= 1e-5
