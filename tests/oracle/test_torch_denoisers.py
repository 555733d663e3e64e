"""U-Net and DiT against the same models in PyTorch: predictions and every gradient, float64."""

import math

import numpy as np
import pytest

import tinygen as tg
from tinygen.models.diffusion import DiT, DiTConfig, UNet, UNetConfig
from tinygen.models.diffusion.dit import grid_positions

torch = pytest.importorskip("torch")
F = torch.nn.functional


def normal(*shape, seed=0):
    return tg.random.Generator(seed).normal(shape, "float64")


def linear(w, x, name):
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def condition_of(w, width, t, y):
    half = width // 2
    angles = t[:, None] * torch.exp(-math.log(10000.0) * torch.arange(half).double() / half)
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    return linear(w, F.silu(linear(w, waves, "time.hidden")), "time.out") + w["label.weight"][y]


def torch_unet(w, c, x, t, y):
    """The U-Net in PyTorch's functions, NCHW; w its weights by our names."""

    def conv(x, name, stride=1):
        kernel = w[f"{name}.weight"].permute(0, 3, 1, 2)
        return F.conv2d(x, kernel, w[f"{name}.bias"], stride=stride, padding=1)

    def norm(x, name):
        return F.group_norm(x, c.groups, w[f"{name}.weight"], w[f"{name}.bias"])

    def block(x, name):
        h = conv(F.silu(norm(x, f"{name}.res.norm1")), f"{name}.res.conv1")
        h = h + linear(w, condition, f"{name}.res.shift")[:, :, None, None]
        h = conv(F.silu(norm(h, f"{name}.res.norm2")), f"{name}.res.conv2")
        if f"{name}.res.skip.weight" in w:
            x = linear(w, x.movedim(1, -1), f"{name}.res.skip").movedim(-1, 1)
        x = x + h
        if f"{name}.attention.norm.weight" in w:
            tokens = norm(x, f"{name}.attention.norm").flatten(2).transpose(1, 2)
            qkv = linear(w, tokens, f"{name}.attention.attn.qkv")
            out = attention(w, qkv, f"{name}.attention.attn.out", x.shape[1] // c.head_width)
            x = x + out.transpose(1, 2).reshape(x.shape)
        return x

    condition = F.silu(condition_of(w, c.base, t, y))
    h, skips, levels = conv(x, "input"), [], len(c.multipliers) - 1
    for i in range(levels):
        for j in range(c.blocks):
            h = block(h, f"down.{i}.{j}")
            skips.append(h)
        h = conv(h, f"halve.{i}.conv", stride=2)
    for j in range(c.blocks):
        h = block(h, f"middle.{j}")
    for i in range(levels):
        h = conv(F.interpolate(h, scale_factor=2.0), f"double.{i}.conv")
        for j in range(c.blocks):
            h = block(torch.cat([h, skips.pop()], dim=1), f"up.{i}.{j}")
    return conv(F.silu(norm(h, "norm")), "output")


def attention(w, qkv, name, n_head):
    N, T, packed = qkv.shape
    q, k, v = (p.reshape(N, T, n_head, -1).transpose(1, 2) for p in qkv.chunk(3, dim=-1))
    out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(N, T, packed // 3)
    return linear(w, out, name)


def torch_dit(w, c, x, t, y):
    """x (N, H, W, C), as ours."""
    N, side, p = len(x), c.size // c.patch, c.patch
    condition = F.silu(condition_of(w, c.width, t, y))

    def norm(x):
        return F.layer_norm(x, (c.width,), eps=1e-6)

    patches = x.reshape(N, side, p, side, p, c.channels).permute(0, 1, 3, 5, 2, 4)
    table = torch.tensor(grid_positions(side, c.width).astype("float32").astype("float64"))
    h = linear(w, patches.reshape(N, side * side, -1), "patches") + table
    for i in range(c.depth):
        vectors = linear(w, condition, f"blocks.{i}.modulation")[:, None].chunk(6, dim=-1)
        shift1, scale1, gate1, shift2, scale2, gate2 = vectors
        qkv = linear(w, norm(h) * (1 + scale1) + shift1, f"blocks.{i}.attn.qkv")
        h = h + gate1 * attention(w, qkv, f"blocks.{i}.attn.out", c.n_head)
        up = linear(w, norm(h) * (1 + scale2) + shift2, f"blocks.{i}.mlp.up")
        h = h + gate2 * linear(w, F.gelu(up, approximate="tanh"), f"blocks.{i}.mlp.down")
    scale, shift = linear(w, condition, "norm.modulation")[:, None].chunk(2, dim=-1)
    pixels = linear(w, norm(h) * (1 + scale) + shift, "output")
    pixels = pixels.reshape(N, side, side, c.channels, p, p).permute(0, 1, 4, 2, 5, 3)
    return pixels.reshape(x.shape)


CASES = {
    "UNet": UNetConfig(
        3, base=8, multipliers=(1, 2, 2), attention=(4,), classes=3, size=8, groups=4, head_width=8
    ),
    "DiT": DiTConfig(3, size=8, patch=2, width=16, depth=2, n_head=2, classes=3),
}


@pytest.mark.parametrize("case", CASES)
def test_predictions_and_gradients(case):
    config = CASES[case]
    make = UNet if case == "UNet" else DiT
    model = make(config, rng=tg.random.Generator(0)).to(dtype="float64")
    w = {}
    for name, p in model.named_parameters():
        p.data[...] += 0.1 * normal(*p.shape, seed=name)
        w[name] = torch.tensor(p.data, requires_grad=True)
    x, t, y = normal(2, 8, 8, 3), np.array([3.0, 700.5]), np.array([3, 1])
    prediction = model(x, t, y)
    if case == "UNet":
        image = torch.tensor(x).movedim(-1, 1)
        expected = torch_unet(w, config, image, torch.tensor(t), torch.tensor(y)).movedim(1, -1)
    else:
        expected = torch_dit(w, config, torch.tensor(x), torch.tensor(t), torch.tensor(y))
    theirs = expected.detach().numpy()
    assert abs(prediction.numpy() - theirs).max() <= 1e-11 * abs(theirs).max()
    g = normal(*x.shape, seed="g")
    prediction.backward(tg.tensor(g))
    expected.backward(torch.tensor(g))
    for name, p in model.named_parameters():
        theirs = w[name].grad.numpy()
        assert abs(p.grad.numpy() - theirs).max() <= 1e-9 * abs(theirs).max(), name
