"""Whole training steps by our kernels on the simulated device: those of the CPU, to float32."""

import os
from typing import Any

import numpy as np
import pytest

import tinygen as tg
from tinygen.backend import backend_named
from tinygen.models.diffusion import UNet, UNetConfig
from tinygen.models.transformer import GPT, GPTConfig, Llama, LlamaConfig

DEVICE = os.environ.get("TINYGEN_TEST_DEVICE", "sim")
SIM: Any = backend_named(DEVICE)
pytestmark = pytest.mark.skipif(not SIM.launches, reason="no compiler or NVIDIA's headers")

LR = 1e-2


def gpt(device: str) -> tuple[Any, Any]:
    model = GPT(GPTConfig(65, 16, 2, 2, 32), rng=tg.random.Generator(0)).to(device)
    tokens = tg.tensor(np.random.default_rng(0).integers(0, 65, (2, 17)), device=device)
    return model, lambda: model.loss(tokens[:, :-1], tokens[:, 1:])


def llama(device: str) -> tuple[Any, Any]:
    config = LlamaConfig(65, 16, 2, 4, 32, n_kv_head=2, window=5, qk_norm=True)
    model = Llama(config, rng=tg.random.Generator(0)).to(device)
    tokens = tg.tensor(np.random.default_rng(0).integers(0, 65, (2, 17)), device=device)
    return model, lambda: model.loss(tokens[:, :-1], tokens[:, 1:])


def unet(device: str) -> tuple[Any, Any]:
    config = UNetConfig(1, base=8, multipliers=(1, 2), blocks=1, attention=(4,), classes=10, size=8)
    model = UNet(config, rng=tg.random.Generator(0)).to(device)
    rng = np.random.default_rng(0)
    x, noise = (tg.tensor(rng.standard_normal((2, 8, 8, 1)), "float32", device) for _ in range(2))
    levels = tg.tensor([0.3, 0.7], device=device)
    labels = tg.tensor(np.array([1, 2]), device=device)
    return model, lambda: tg.ops.mse_loss(model(x, levels, labels), noise)


def steps(family: Any, device: str, optimiser: Any) -> tuple[list[float], dict[str, Any]]:
    model, loss_of = family(device)
    optimizer = optimiser(model.parameters(), lr=LR)
    losses = []
    for _ in range(3):
        loss = loss_of()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, model.state_dict()


@pytest.mark.parametrize("family", [gpt, llama, unet])
def test_three_steps_of_sgd_leave_the_same_parameters(family: Any) -> None:
    """To 1e-5, a thousandth of a step with a gradient of 1."""
    (losses, state), (found, found_state) = (
        steps(family, device, tg.optim.SGD) for device in ("cpu", DEVICE)
    )
    assert len(set(losses)) == 3
    np.testing.assert_allclose(found, losses, rtol=1e-5)
    for name, value in state.items():
        np.testing.assert_allclose(found_state[name], value, rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("family", [gpt, llama, unet])
def test_three_steps_of_adamw_go_down_alike(family: Any) -> None:
    """Losses to 1e-4; of parameters whose gradient is near 0, rounding decides the sign, and AdamW
    makes a whole step of it."""
    losses, found = (steps(family, device, tg.optim.AdamW)[0] for device in ("cpu", DEVICE))
    np.testing.assert_allclose(found, losses, rtol=1e-4)


def test_the_kernels_were_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    launched, run = set(), SIM.run

    def noted(kernel: Any, *rest: Any) -> None:
        launched.add(kernel.name)
        run(kernel, *rest)

    monkeypatch.setattr(SIM, "run", noted)
    model, loss_of = gpt(DEVICE)
    optimizer = tg.optim.AdamW(model.parameters(), lr=LR)
    loss_of().backward()
    optimizer.step()
    for part in ("matmul_", "attention_", "layer_norm_", "cross_entropy", "adamw"):
        assert any(part in name for name in launched), f"no kernel of {part} in {sorted(launched)}"
