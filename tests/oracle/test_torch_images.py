"""Image ops and layers against PyTorch: outputs and every gradient, float64."""

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn, ops

torch = pytest.importorskip("torch")
F = torch.nn.functional


def normal(*shape, seed=0):
    return tg.random.Generator(seed).normal(shape, "float64")


def nchw(x):
    return torch.tensor(x).permute(0, 3, 1, 2)


def nhwc(x):
    return x.detach().permute(0, 2, 3, 1).numpy()


def close(ours, theirs, rtol=1e-12):
    assert ours.shape == theirs.shape
    assert abs(ours - theirs).max() <= rtol * max(1.0, abs(theirs).max())


def compare(ours, theirs, *arrays, images=1, rtol=1e-12):
    """f(image, *vectors) and g(image as NCHW, *vectors): value, and the gradient by each."""
    xs = [tg.tensor(a, requires_grad=True) for a in arrays]
    ts = [
        (nchw(a) if i < images else torch.tensor(a)).requires_grad_() for i, a in enumerate(arrays)
    ]
    y, expected = ours(*xs), theirs(*ts)
    close(y.numpy(), nhwc(expected), rtol)
    g = normal(*y.shape, seed="cotangent")
    y.backward(tg.tensor(g))
    expected.backward(nchw(g))
    for i, (x, t) in enumerate(zip(xs, ts, strict=True)):
        close(x.grad.numpy(), nhwc(t.grad) if i < images else t.grad.numpy(), rtol)


WINDOWS = [
    (2, {}),
    (3, {"stride": 2, "padding": 1}),
    ((2, 3), {"stride": (1, 2), "padding": (0, 1)}),
    (3, {"stride": 4}),
    (5, {"stride": 1, "padding": 2}),
]


@pytest.mark.parametrize(("kernel", "options"), WINDOWS)
@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (1, 7, 5, 1), (3, 5, 11, 2)])
def test_pooling(kernel, options, shape):
    x = normal(*shape)
    compare(
        lambda x: ops.max_pool2d(x, kernel, **options),
        lambda x: F.max_pool2d(x, kernel, **options),
        x,
    )
    for count_include_pad in (True, False):
        compare(
            lambda x, c=count_include_pad: ops.avg_pool2d(
                x, kernel, count_include_pad=c, **options
            ),
            lambda x, c=count_include_pad: F.avg_pool2d(x, kernel, count_include_pad=c, **options),
            x,
        )


def test_ties_in_max_pooling_go_where_torch_sends_them():
    x = tg.random.Generator(0).integers(0, 3, (2, 8, 9, 3)).astype("float64")
    options = {"stride": 2, "padding": 1}
    compare(lambda x: ops.max_pool2d(x, 3, **options), lambda x: F.max_pool2d(x, 3, **options), x)


@pytest.mark.parametrize("size", [(12, 14), (6, 7), (3, 4), (13, 5), (1, 1), (18, 21)])
def test_resizing(size):
    x = normal(2, 6, 7, 3)
    for ours, theirs in (("nearest", "nearest-exact"), ("bilinear", "bilinear")):
        compare(
            lambda x, m=ours: ops.resize(x, size, mode=m),
            lambda x, m=theirs: F.interpolate(x, size, mode=m),
            x,
        )


def test_pixel_shuffle():
    compare(lambda x: ops.pixel_shuffle(x, 3), lambda x: F.pixel_shuffle(x, 3), normal(2, 2, 3, 18))
    compare(
        lambda x: ops.pixel_unshuffle(x, 3), lambda x: F.pixel_unshuffle(x, 3), normal(2, 6, 3, 2)
    )


@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (2, 1, 7, 6)])
def test_norms(shape):
    x, weight, bias = normal(*shape) * 2 + 1, normal(6, seed=1), normal(6, seed=2)
    for groups in (1, 2, 3, 6):
        compare(
            lambda x, w, b, g=groups: ops.group_norm(x, g, w, b),
            lambda x, w, b, g=groups: F.group_norm(x, g, w, b),
            x,
            weight,
            bias,
        )
    compare(
        lambda x, w, b: ops.group_norm(x, 3, w, b, activation="silu"),
        lambda x, w, b: F.silu(F.group_norm(x, 3, w, b)),
        x,
        weight,
        bias,
    )
    compare(
        lambda x, w, b: ops.instance_norm(x, w, b),
        lambda x, w, b: F.instance_norm(x, weight=w, bias=b),
        x,
        weight,
        bias,
    )


def test_batch_norm_over_a_training_run():
    """Three batches in training, then one in eval mode: outputs, gradients, statistics."""
    ours = nn.BatchNorm2d(5, momentum=0.3).to(dtype="float64")
    theirs = torch.nn.BatchNorm2d(5, momentum=0.3).double()
    for name, p in theirs.named_parameters():
        value = normal(5, seed=name)
        p.data.copy_(torch.tensor(value))
        getattr(ours, name).data[...] = value
    for step in range(4):
        if step == 3:
            ours.eval(), theirs.eval()
        x = normal(4, 3, 6, 5, seed=step) * (step + 1) - step
        compare(ours, theirs, x)
        for name in ("running_mean", "running_var"):
            close(getattr(ours, name).numpy(), getattr(theirs, name).numpy())
    for name, p in theirs.named_parameters():
        close(getattr(ours, name).grad.numpy(), p.grad.numpy())


def torch_res_block(w, x, condition, prefix=""):
    """`nn.ResBlock` in PyTorch's functions, NCHW, by the names of our parameters."""

    def get(name):
        return w.get(f"{prefix}{name}")

    def conv(x, name):
        return F.conv2d(
            x, get(f"{name}.weight").permute(0, 3, 1, 2), get(f"{name}.bias"), padding=1
        )

    def norm(x, name):
        return F.group_norm(x, 2, get(f"{name}.weight"), get(f"{name}.bias"))

    h = conv(F.silu(norm(x, "norm1")), "conv1")
    if get("norm2.modulation.weight") is not None:
        scale, shift = F.linear(
            condition, get("norm2.modulation.weight"), get("norm2.modulation.bias")
        ).chunk(2, dim=1)
        h = norm(h, "norm2") * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    else:
        if get("shift.weight") is not None:
            h = h + F.linear(condition, get("shift.weight"), get("shift.bias"))[:, :, None, None]
        h = norm(h, "norm2")
    h = conv(F.silu(h), "conv2")
    if get("skip.weight") is not None:
        x = F.conv2d(x, get("skip.weight")[:, :, None, None], get("skip.bias"))
    return x + h


def weights_of(module):
    """The module's parameters, perturbed so that nothing is at its initial zero, for PyTorch."""
    found = {}
    for name, p in module.named_parameters():
        p.data[...] += 0.3 * normal(*p.shape, seed=name)
        found[name] = torch.tensor(p.data, requires_grad=True)
    return found


def same_gradients(module, weights, rtol=1e-10):
    for name, p in module.named_parameters():
        close(p.grad.numpy(), weights[name].grad.numpy(), rtol)


@pytest.mark.parametrize("out", [4, 6])
@pytest.mark.parametrize("kind", ["plain", "added", "scale and shift"])
def test_residual_block(out, kind):
    condition = None if kind == "plain" else 3
    block = nn.ResBlock(
        4,
        out,
        condition=condition,
        scale_shift=kind == "scale and shift",
        groups=2,
        rng=tg.random.Generator(0),
    ).to(dtype="float64")
    weights = weights_of(block)
    x, c = normal(2, 4, 6, 4), normal(2, 3, seed=1)
    compare(
        lambda x, c: block(x, c) + 0 * c.sum(),
        lambda x, c: torch_res_block(weights, x, c) + 0 * c.sum(),
        x,
        c,
        rtol=1e-11,
    )
    same_gradients(block, weights)


def torch_attention_block(w, x, n_head, prefix=""):
    N, C, H, W = x.shape
    h = F.group_norm(x, 2, w[f"{prefix}norm.weight"], w[f"{prefix}norm.bias"])
    tokens = h.flatten(2).transpose(1, 2)  # (N, HW, C)
    qkv = F.linear(tokens, w[f"{prefix}attn.qkv.weight"], w[f"{prefix}attn.qkv.bias"])
    q, k, v = (p.reshape(N, H * W, n_head, -1).transpose(1, 2) for p in qkv.chunk(3, dim=-1))
    out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(N, H * W, C)
    out = F.linear(out, w[f"{prefix}attn.out.weight"], w[f"{prefix}attn.out.bias"])
    return x + out.transpose(1, 2).reshape(N, C, H, W)


def test_attention_block():
    block = nn.AttentionBlock(8, 2, groups=2, rng=tg.random.Generator(0)).to(dtype="float64")
    weights = weights_of(block)
    compare(block, lambda x: torch_attention_block(weights, x, 2), normal(2, 3, 4, 8), rtol=1e-11)
    same_gradients(block, weights)


def test_time_embedding():
    layer = nn.TimestepEmbedding(8, 5, rng=tg.random.Generator(0)).to(dtype="float64")
    t = np.array([0.0, 1.0, 17.5, 999.0])
    angles = torch.tensor(t)[:, None] * 10000.0 ** (-torch.arange(4).double() / 4)
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    w = {name: torch.tensor(p.data) for name, p in layer.named_parameters()}
    hidden = F.silu(F.linear(waves, w["hidden.weight"], w["hidden.bias"]))
    close(layer(t).numpy(), F.linear(hidden, w["out.weight"], w["out.bias"]).numpy())
