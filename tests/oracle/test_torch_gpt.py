"""GPT against an equal model in PyTorch: logits, every gradient, and a training run, float64."""

import numpy as np
import pytest

import tinygen as tg
from tinygen import optim
from tinygen.models.transformer import GPT, GPTConfig

torch = pytest.importorskip("torch")
F = torch.nn.functional

CONFIG = GPTConfig(vocab_size=11, block_size=8, n_layer=2, n_head=2, width=12)


def torch_logits(w, tokens, config):
    """The same model, written for PyTorch from the paper; `w` the weights by tinygen's names."""
    T, H = tokens.shape[1], config.n_head

    def norm(x, name):
        return F.layer_norm(x, (config.width,), w[f"{name}.weight"], w.get(f"{name}.bias"))

    def linear(x, name):
        return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))

    x = w["token_embedding.weight"][tokens] + w["position_embedding.weight"][:T]
    for i in range(config.n_layer):
        block = f"blocks.{i}"
        qkv = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv")
        q, k, v = (
            part.reshape(*part.shape[:2], H, -1).transpose(1, 2) for part in qkv.chunk(3, dim=-1)
        )
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
        x = x + linear(out.reshape(x.shape), f"{block}.attn.out")
        hidden = F.gelu(linear(norm(x, f"{block}.norm2"), f"{block}.mlp.up"), approximate="tanh")
        x = x + linear(hidden, f"{block}.mlp.down")
    return norm(x, "norm") @ w["token_embedding.weight"].T


def pair(config):
    model = GPT(config, rng=tg.random.Generator(0)).to(dtype="float64")
    weights = {
        name: torch.tensor(array, requires_grad=True) for name, array in model.state_dict().items()
    }
    return model, weights


def tokens(*shape, seed="tokens"):
    return tg.random.Generator(seed).integers(0, CONFIG.vocab_size, shape)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("T", [1, 5, 8])
def test_logits_and_gradients(bias, T):
    config = GPTConfig(11, 8, 3, 2, 12, bias=bias)
    model, weights = pair(config)
    for name, p in model.named_parameters():
        p.data[...] += 0.2 * tg.random.Generator(name).normal(p.shape, "float64")
        weights[name].data.copy_(torch.tensor(p.data))
    x = tokens(3, T)
    logits, expected = model(x), torch_logits(weights, torch.tensor(x), config)
    assert abs(logits.numpy() - expected.detach().numpy()).max() <= 1e-12 * abs(expected).max()
    y = tokens(3, T, seed=1)
    model.loss(x, y).backward()
    F.cross_entropy(expected.reshape(-1, 11), torch.tensor(y).reshape(-1)).backward()
    assert weights.keys() == dict(model.named_parameters()).keys()
    for name, p in model.named_parameters():
        theirs = weights[name].grad.numpy()
        assert abs(p.grad.numpy() - theirs).max() <= 1e-10 * abs(theirs).max(), name


def test_a_training_run_has_the_same_losses():
    model, weights = pair(CONFIG)
    optimizer = optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    reference = torch.optim.AdamW(weights.values(), lr=1e-2, weight_decay=0.1)
    x = tokens(4, 9)
    ours, theirs = [], []
    for _ in range(10):
        loss = model.loss(x[:, :-1], x[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_norm(model.parameters(), 1.0)
        optimizer.step()
        ours.append(loss.item())
        logits = torch_logits(weights, torch.tensor(x[:, :-1]), CONFIG)
        expected = F.cross_entropy(logits.reshape(-1, 11), torch.tensor(x[:, 1:]).reshape(-1))
        reference.zero_grad()
        expected.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        reference.step()
        theirs.append(expected.item())
    # torch clips to max_norm / (norm + 1e-6), so the runs agree to about that.
    assert np.allclose(ours, theirs, rtol=1e-6)
