"""Layers against PyTorch: outputs and every gradient, float64."""

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn

torch = pytest.importorskip("torch")


def generator(seed=0):
    return tg.random.Generator(seed)


CASES = {
    "Linear": (lambda r: nn.Linear(7, 5, rng=r), lambda: torch.nn.Linear(7, 5), (3, 4, 7)),
    "Linear without bias": (
        lambda r: nn.Linear(7, 5, bias=False, rng=r),
        lambda: torch.nn.Linear(7, 5, bias=False),
        (3, 7),
    ),
    "Linear + relu": (
        lambda r: nn.Linear(7, 5, activation="relu", rng=r),
        lambda: torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.ReLU()),
        (9, 7),
    ),
    "Linear + gelu": (
        lambda r: nn.Linear(7, 5, activation="gelu", rng=r),
        lambda: torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.GELU()),
        (9, 7),
    ),
    "Linear + gelu_tanh": (
        lambda r: nn.Linear(7, 5, activation="gelu_tanh", rng=r),
        lambda: torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.GELU("tanh")),
        (9, 7),
    ),
    "Linear + silu": (
        lambda r: nn.Linear(7, 5, activation="silu", rng=r),
        lambda: torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.SiLU()),
        (9, 7),
    ),
    "LayerNorm": (lambda r: nn.LayerNorm(7), lambda: torch.nn.LayerNorm(7), (3, 4, 7)),
    "LayerNorm without bias": (
        lambda r: nn.LayerNorm(7, bias=False),
        lambda: torch.nn.LayerNorm(7, bias=False),
        (3, 7),
    ),
    "RMSNorm": (lambda r: nn.RMSNorm(7), lambda: torch.nn.RMSNorm(7, eps=1e-6), (3, 4, 7)),
    "ReLU": (lambda r: nn.ReLU(), torch.nn.ReLU, (20,)),
    "LeakyReLU": (lambda r: nn.LeakyReLU(0.2), lambda: torch.nn.LeakyReLU(0.2), (20,)),
    "SiLU": (lambda r: nn.SiLU(), torch.nn.SiLU, (20,)),
    "GELU": (lambda r: nn.GELU(), torch.nn.GELU, (20,)),
    "GELU tanh": (lambda r: nn.GELU("tanh"), lambda: torch.nn.GELU("tanh"), (20,)),
    "Tanh": (lambda r: nn.Tanh(), torch.nn.Tanh, (20,)),
    "Sigmoid": (lambda r: nn.Sigmoid(), torch.nn.Sigmoid, (20,)),
    "Softplus": (lambda r: nn.Softplus(), torch.nn.Softplus, (20,)),
}


def compare(layer, reference, x, *, run=lambda module, x: module(x), names=lambda name: name):
    """Outputs, the gradient of the input and of every parameter, to 1e-12 of their size."""
    layer.to(dtype="float64")
    reference.double()
    with torch.no_grad():
        theirs = dict(reference.named_parameters())
        for name, p in layer.named_parameters():
            p.data[...] += 0.5 * generator(name).normal(p.shape, "float64")
            theirs[names(name)].copy_(torch.tensor(p.data))
    ours_in = tg.tensor(x, requires_grad=True)
    theirs_in = torch.tensor(x, requires_grad=True)
    ours_out, theirs_out = run(layer, ours_in), run(reference, theirs_in)
    close(ours_out, theirs_out)
    cotangent = generator("cotangent").normal(ours_out.shape, "float64")
    ours_out.backward(tg.tensor(cotangent))
    theirs_out.backward(torch.tensor(cotangent))
    close(ours_in.grad, theirs_in.grad)
    for name, p in layer.named_parameters():
        close(p.grad, theirs[names(name)].grad)


def close(ours, theirs):
    ours, theirs = ours.numpy(), theirs.detach().numpy()
    assert ours.shape == theirs.shape
    assert abs(ours - theirs).max() <= 1e-12 * max(1.0, abs(theirs).max())


@pytest.mark.parametrize("case", CASES)
def test_layer(case):
    make, make_reference, shape = CASES[case]
    prefix = "0." if "+" in case else ""
    x = generator("x").normal(shape, "float64")
    compare(make(generator()), make_reference(), x, names=lambda name: prefix + name)


def test_swiglu():
    x = generator("x").normal((3, 4, 14), "float64")
    ours, theirs = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y = tg.ops.swiglu(ours[..., :7], ours[..., 7:])
    gate, up = theirs.chunk(2, -1)
    expected = torch.nn.functional.silu(gate) * up
    close(y, expected)
    cotangent = generator("c").normal(y.shape, "float64")
    y.backward(tg.tensor(cotangent))
    expected.backward(torch.tensor(cotangent))
    close(ours.grad, theirs.grad)


def test_embedding():
    ids = generator().integers(0, 6, (4, 5))
    ours, theirs = nn.Embedding(6, 3, rng=generator()), torch.nn.Embedding(6, 3)
    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(ours.weight.data))
    out, expected = ours(ids), theirs(torch.tensor(ids))
    assert np.array_equal(out.numpy(), expected.detach().numpy())
    cotangent = generator("c").normal(out.shape)
    out.backward(tg.tensor(cotangent))
    expected.backward(torch.tensor(cotangent))
    assert np.allclose(ours.weight.grad.numpy(), theirs.weight.grad.numpy(), rtol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_multi_head_attention(causal):
    layer = nn.MultiHeadAttention(12, 3, causal=causal, rng=generator())
    reference = torch.nn.MultiheadAttention(12, 3, batch_first=True)
    mask = torch.triu(torch.ones(6, 6, dtype=torch.bool), 1) if causal else None
    rename = {
        "qkv.weight": "in_proj_weight",
        "qkv.bias": "in_proj_bias",
        "out.weight": "out_proj.weight",
        "out.bias": "out_proj.bias",
    }

    def run(module, x):
        return (
            module(x)
            if isinstance(module, nn.Module)
            else module(x, x, x, attn_mask=mask, need_weights=False)[0]
        )

    x = generator("x").normal((2, 6, 12), "float64")
    compare(layer, reference, x, run=run, names=rename.__getitem__)


def test_transformer_block():
    block = nn.TransformerBlock(12, 3, hidden=20, rng=generator())
    reference = torch.nn.TransformerEncoderLayer(
        12, 3, 20, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    rename = {
        "attn.qkv.weight": "self_attn.in_proj_weight",
        "attn.qkv.bias": "self_attn.in_proj_bias",
        "attn.out.weight": "self_attn.out_proj.weight",
        "attn.out.bias": "self_attn.out_proj.bias",
        "mlp.up.weight": "linear1.weight",
        "mlp.up.bias": "linear1.bias",
        "mlp.down.weight": "linear2.weight",
        "mlp.down.bias": "linear2.bias",
    }
    x = generator("x").normal((2, 6, 12), "float64")
    compare(block, reference, x, names=lambda name: rename.get(name, name))
