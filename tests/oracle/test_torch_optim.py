"""Optimisers against PyTorch: 100 steps in float64, equal to rounding."""

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn, optim
from tinygen.optim.muon import orthogonal

torch = pytest.importorskip("torch")

SHAPES = [(40, 30), (30,), (), (3, 4, 5)]
STEPS = 100

CASES = {
    "SGD": {},
    "SGD weight decay": {"weight_decay": 0.1},
    "SGD momentum": {"momentum": 0.9, "weight_decay": 0.1},
    "SGD nesterov": {"momentum": 0.9, "nesterov": True},
    "Adam": {},
    "Adam weight decay": {"weight_decay": 0.1, "betas": (0.8, 0.99)},
    "AdamW": {},
    "AdamW weight decay": {"weight_decay": 0.3, "eps": 1e-4},
}


def gradient(p, i, step):
    """Of a moving valley: it depends on the parameter, so that an error would feed back."""
    return (p - np.cos(i + 0.1 * step)) * 10.0 ** (i - 2)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lr", [1e-1, 1e-3])
def test_a_trajectory_is_that_of_torch(case, lr):
    kind, options = case.split()[0], {"lr": lr, **CASES[case]}
    rng = tg.random.Generator(case)
    start = [rng.normal(shape, "float64") for shape in SHAPES]
    ours = [nn.Parameter(x.copy()) for x in start]
    theirs = [torch.nn.Parameter(torch.tensor(x)) for x in start]
    optimizer = getattr(optim, kind)(ours, **options)
    reference = getattr(torch.optim, kind)(theirs, **options)
    for step in range(STEPS):
        for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            skipped = i == 1 and step % 3 == 0
            p.grad = None if skipped else tg.Tensor(gradient(p.data, i, step))
            q.grad = None if skipped else torch.tensor(gradient(q.detach().numpy(), i, step))
        optimizer.step()
        reference.step()
    for p, q in zip(ours, theirs, strict=True):
        assert np.allclose(p.data, q.detach().numpy(), rtol=1e-12, atol=1e-13)


def test_muon_is_that_of_torch_to_the_bfloat16_of_its_iteration():
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no Muon")
    start = tg.random.Generator(0).normal((24, 12), "float64")
    p, q = nn.Parameter(start.copy()), torch.nn.Parameter(torch.tensor(start))
    optimizer = optim.Muon([p], lr=0.01, weight_decay=0.1)
    reference = torch.optim.Muon([q], lr=0.01, weight_decay=0.1)
    rng = tg.random.Generator(1)
    for _ in range(20):
        grad = rng.normal((24, 12), "float64")
        p.grad, q.grad = tg.Tensor(grad), torch.tensor(grad)
        optimizer.step()
        reference.step()
    # 20 steps of length 0.01 sqrt(2), each entry of the direction known to about 2^-8.
    error = abs(p.data - q.detach().numpy()).max()
    assert error <= 20 * 0.01 * 2**0.5 * 2**-8
    assert abs(p.data - start).max() > 10 * error


def test_the_orthogonal_factor_is_near_that_of_the_singular_value_decomposition():
    x = torch.randn(16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    u, _, vt = torch.linalg.svd(x)
    exact = (u @ vt).numpy()
    found = orthogonal(x.numpy())
    assert np.vdot(found, exact) / np.linalg.norm(found) / np.linalg.norm(exact) > 0.97


def test_clipping_and_average_are_those_of_torch():
    rng = tg.random.Generator(0)
    grads = [rng.normal(shape, "float64") for shape in SHAPES]
    ours = [nn.Parameter(np.zeros(shape)) for shape in SHAPES]
    theirs = [torch.nn.Parameter(torch.zeros(shape, dtype=torch.float64)) for shape in SHAPES]
    for p, q, g in zip(ours, theirs, grads, strict=True):
        p.grad, q.grad = tg.Tensor(g), torch.tensor(g)
    total = optim.clip_grad_norm(ours, 2.0)
    assert total == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, 2.0)), rel=1e-13)
    for p, q in zip(ours, theirs, strict=True):
        # torch divides by norm + 1e-6
        assert np.allclose(p.grad.numpy(), q.grad.numpy(), rtol=2e-6 / total)


@pytest.mark.parametrize("kind", ["Cosine", "Linear"])
def test_schedules_are_those_of_torch(kind):
    p = torch.nn.Parameter(torch.zeros(1))
    base = torch.optim.SGD([p], lr=1.0)
    schedulers = torch.optim.lr_scheduler
    reference = (
        schedulers.CosineAnnealingLR(base, 50, eta_min=0.1)
        if kind == "Cosine"
        else schedulers.LinearLR(base, 1.0, 0.1, 50)
    )
    schedule = getattr(optim, kind)(50, min_factor=0.1)
    for step in range(50):
        assert schedule(step) == pytest.approx(base.param_groups[0]["lr"], rel=1e-12)
        base.step()
        reference.step()
