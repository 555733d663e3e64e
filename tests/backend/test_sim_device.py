"""The device "sim": every op, its gradient and whole training steps as on the CPU, and no host
array anywhere on the way. What differs between the two is the order of sums alone, or a fast path
against its plain twin."""

import os
from typing import Any

import numpy as np
import pytest

import tinygen as tg
from tinygen import autograd, nn
from tinygen.backend import backend_named
from tinygen.checkpoints import load_state, save_state
from tinygen.errors import DeviceError, UnavailableError
from tinygen.models.diffusion import UNet, UNetConfig
from tinygen.models.transformer import GPT, GPTConfig
from tinygen.tensor import Tensor
from tinygen.testing.bounds import as_tuple
from tinygen.testing.catalogue import Op, load
from tinygen.testing.drawing import Call

DEVICE = os.environ.get("TINYGEN_TEST_DEVICE", "sim")
SIM = backend_named(DEVICE)
OPS = {name: op for name, op in load().items() if op.takes_arrays}

sim_only = pytest.mark.skipif(DEVICE != "sim", reason="asks what only the simulated device is")

RELATIVE = 1e-11
"""Of the largest element, in float64: the plain twins of fused ops cancel more than those do."""


def moved(value: Any) -> Any:
    """Every array in a call's arguments, on the device."""
    if isinstance(value, (np.ndarray, np.generic)):
        return SIM.asarray(value)
    if isinstance(value, (tuple, list)):
        return type(value)(moved(item) for item in value)
    return value


def arguments_of(call: Call) -> dict[Any, Any]:
    """The arguments of a call, by position and by name."""
    return dict(enumerate(call.arrays)) | call.params


def values_and_gradients(op: Op, call: Call, move: Any) -> list[Any]:
    call = call.cast(np.float64)
    places = op.inputs(call)
    arguments = [
        Tensor(move(x), requires_grad=True) if i in places else move(x)
        for i, x in enumerate(call.arrays)
    ]
    leaves = [arguments[i] for i in places]
    ys = as_tuple(op.fn(*arguments, **{name: move(v) for name, v in call.params.items()}))
    results = [y.data if isinstance(y, Tensor) else y for y in ys]
    roots = [y for y in ys if isinstance(y, Tensor) and y.requires_grad]
    if roots and leaves:
        rng = np.random.default_rng(0)
        gs = [move(np.asarray(rng.uniform(-1, 1, y.shape))) for y in roots]
        found = autograd.grad(roots, leaves, gs, allow_unused=True)
        results += [None if g is None else g.data for g in found]
    return results


def agree(op: Op, calls: Any) -> None:
    for call in calls:
        wanted = values_and_gradients(op, call, lambda x: x)
        found = values_and_gradients(op, call, moved)
        for a, b in zip(wanted, found, strict=True):
            if a is None or not hasattr(a, "dtype"):
                assert b is a or b == a
                continue
            assert type(b) is SIM.array_type, "a result left the device"
            assert (b.shape, b.dtype) == (a.shape, a.dtype)
            b, a = np.asarray(SIM.to_numpy(b), float), np.asarray(a, float)
            scale = np.abs(a[np.isfinite(a)]).max(initial=1.0)
            np.testing.assert_allclose(b, a, rtol=0, atol=RELATIVE * scale)


@pytest.mark.parametrize("name", OPS)
def test_an_op_on_sim_is_that_of_the_cpu(name: str) -> None:
    with np.errstate(all="ignore"):
        agree(OPS[name], OPS[name].samples[:3])


@pytest.mark.deep
@pytest.mark.parametrize("name", OPS)
def test_an_op_on_sim_is_that_of_the_cpu_on_many_arguments(name: str) -> None:
    with np.errstate(all="ignore"):
        agree(OPS[name], OPS[name].samples)


# ---- training steps ------------------------------------------------------------------------------


def gpt_steps(device: str) -> tuple[list[float], dict[str, Any]]:
    model = GPT(GPTConfig(65, 16, 2, 2, 32, bias=False), rng=tg.random.Generator(0))
    optimizer = tg.optim.AdamW(model.to(device, "float64").parameters(), lr=1e-2)
    rng, losses = np.random.default_rng(0), []
    for _ in range(3):
        tokens = tg.tensor(rng.integers(0, 65, (2, 17)), device=device)
        losses.append(step(model.loss(tokens[:, :-1], tokens[:, 1:]), optimizer))
    return losses, model.state_dict()


def unet_steps(device: str) -> tuple[list[float], dict[str, Any]]:
    config = UNetConfig(1, base=8, multipliers=(1, 2), blocks=1, attention=(4,), classes=10, size=8)
    model = UNet(config, rng=tg.random.Generator(0))
    optimizer = tg.optim.AdamW(model.to(device, "float64").parameters(), lr=1e-2)
    rng, losses = np.random.default_rng(0), []
    labels = tg.tensor(np.array([1, 2]), device=device)
    levels = tg.tensor([0.3, 0.7], "float64", device)
    for _ in range(3):
        x, noise = (tg.tensor(rng.standard_normal((2, 8, 8, 1)), device=device) for _ in range(2))
        losses.append(step(tg.ops.mse_loss(model(x, levels, labels), noise), optimizer))
    return losses, model.state_dict()


def step(loss: Tensor, optimizer: Any) -> float:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.item())


@pytest.mark.parametrize("steps", [gpt_steps, unet_steps])
def test_training_steps_are_those_of_the_cpu(steps: Any) -> None:
    """In float64, since AdamW divides a gradient by its own size: where it is near 0, float32 would
    leave its sign to rounding."""
    (losses, state), (sim_losses, sim_state) = steps("cpu"), steps(DEVICE)
    assert len(set(losses)) == 3
    np.testing.assert_allclose(sim_losses, losses, rtol=1e-9)
    for name, value in state.items():
        np.testing.assert_allclose(sim_state[name], value, rtol=0, atol=1e-6, err_msg=name)


# ---- moves ---------------------------------------------------------------------------------------


def test_a_tensor_goes_there_and_back_with_its_gradient() -> None:
    x = tg.tensor([1.0, -2.0, 3.0], requires_grad=True)
    there = x.to(DEVICE)
    assert (there.device, x.device) == (DEVICE, "cpu")
    assert there.to(DEVICE) is there
    y = (there * there).to("cpu").sum()
    y.backward()
    assert y.device == "cpu"
    assert x.grad is not None
    assert x.grad.device == "cpu"
    assert x.grad.tolist() == [2.0, -4.0, 6.0]
    (first,) = autograd.grad((x.to(DEVICE) ** 3).sum(), [x], create_graph=True)
    (second,) = autograd.grad(first.sum(), [x])
    assert second.tolist() == [6.0, -12.0, 18.0]


def test_a_module_moves_with_its_state(tmp_path: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 4, rng=tg.random.Generator(0)), nn.LayerNorm(4))
    before = model.state_dict()
    assert model.to(DEVICE) is model
    assert {p.device for p in model.parameters()} == {DEVICE}
    save_state(tmp_path / "saved", {"model": model.state_dict()})
    model[0].weight.data[...] = 0
    model.load_state_dict(load_state(tmp_path / "saved")["model"])
    assert {p.device for p in model.parameters()} == {DEVICE}
    model.to("cpu")
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_numbers_are_those_of_the_cpu(dtype: str) -> None:
    """Uniforms and masks bit for bit; normals too, but for the rounding of a kernel's logarithm."""
    for draw, rounding in (("uniform", 0), ("normal", 4e-6 if dtype == "float32" else 0)):
        here = getattr(tg.random.Generator(3), draw)((5, 4), dtype=dtype)
        there = getattr(tg.random.Generator(3), draw)((5, 4), dtype=dtype, device=DEVICE)
        np.testing.assert_allclose(SIM.to_numpy(there), here, rtol=0, atol=rounding)
    x = tg.ones((4, 5))
    here = tg.ops.dropout(x, 0.5, rng=tg.random.Generator(1))
    there = tg.ops.dropout(x.to(DEVICE), 0.5, rng=tg.random.Generator(1))
    np.testing.assert_array_equal(there.numpy(), here.numpy())


@pytest.mark.parametrize("make", [tg.zeros, tg.ones, tg.arange, tg.eye])
def test_new_tensors_on_the_device(make: Any) -> None:
    assert make(3, device=DEVICE).device == DEVICE
    np.testing.assert_array_equal(make(3, device=DEVICE).numpy(), make(3).numpy())


# ---- what may not be -----------------------------------------------------------------------------


@sim_only
def test_numpy_cannot_reach_the_device() -> None:
    x = SIM.asarray(np.ones(3))
    reaching: list[Any] = [
        lambda: np.asarray(x),
        lambda: np.exp(x),
        lambda: np.ones(3) + x,
        lambda: x + np.ones(3),
        lambda: np.concatenate([x, x]),
        lambda: np.ones(3).__setitem__(slice(None), x),
        lambda: x.__setitem__(slice(None), np.ones(3)),
        lambda: SIM.xp.add(x, np.ones(3)),
        lambda: SIM.xp.concatenate([x, np.ones(3)]),
    ]
    for reach in reaching:
        with pytest.raises(DeviceError, match=DEVICE):
            reach()
    for hidden in ("ctypes", "data", "tobytes"):
        assert not hasattr(x, hidden)


SEVERAL = [
    name
    for name, op in OPS.items()
    if sum(isinstance(x, np.ndarray) for x in arguments_of(op.samples[0]).values()) > 1
]


@pytest.mark.parametrize("name", SEVERAL)
def test_an_op_of_arrays_on_two_devices_says_which_is_where(name: str) -> None:
    op = OPS[name]
    call = op.samples[0]
    arrays = [k for k, x in arguments_of(call).items() if isinstance(x, np.ndarray)]
    for apart in arrays:
        for away in (True, False):  # it, or all others

            def put(x: Any, key: Any, apart: Any = apart, away: bool = away) -> Any:
                there = isinstance(x, np.ndarray) and (key == apart) is away
                return moved(x) if there else x

            given = [
                Tensor(put(x, i)) if isinstance(x, np.ndarray) else x
                for i, x in enumerate(call.arrays)
            ]
            params = {key: put(x, key) for key, x in call.params.items()}
            places = rf"\) is on '(cpu|{DEVICE})' and .*\) on '(cpu|{DEVICE})'"
            with pytest.raises(DeviceError, match=rf"^\w+: .*{places}.*to\('{DEVICE}'\)"):
                op.fn(*given, **params)


def test_names_and_places_in_that_sentence() -> None:
    here, there = tg.ones((2, 2)), tg.ones((2, 2), device=DEVICE)
    cases: dict[str, Any] = {
        rf"^Add: x \(float32\[2, 2\]\) is on 'cpu' and y .* on '{DEVICE}'": lambda: here + there,
        rf"^Concat: input 0 .* on '{DEVICE}' and input 2 .* on 'cpu'": (
            lambda: tg.ops.concat([there, there, here])
        ),
        rf"^Linear: x .* on '{DEVICE}' and weight .* on 'cpu'.*module\.to\('{DEVICE}'\)": (
            lambda: nn.Linear(2, 2, rng=tg.random.Generator(0))(there)
        ),
        rf"^backward: the output .* on '{DEVICE}' and its gradient .* on 'cpu'": (
            lambda: (there.detach().requires_grad_() * 2).backward(here)
        ),
        rf"^getitem: x .* on '{DEVICE}' and an index .* on 'cpu'": (
            lambda: there[tg.tensor([1, 0])]
        ),
    }
    for sentence, mixing in cases.items():
        with pytest.raises(DeviceError, match=sentence):
            mixing()


def test_a_gpu_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(UnavailableError, match=r"cuda:99.*(not installed|not available)") as caught:
        backend_named("cuda:99")
    assert caught.value.exit_code == 4
    for name in ("cuda:x", "gpu", "sim:1"):
        with pytest.raises(DeviceError, match='"cpu", "cuda:0" and "sim"'):
            backend_named(name)


@sim_only
def test_what_ops_ask_of_numpy_is_in_cupy_too() -> None:
    cupy = pytest.importorskip("cupy")
    for name in OPS:
        with np.errstate(all="ignore"):
            values_and_gradients(OPS[name], OPS[name].samples[0], moved)
    used = vars(SIM.xp)
    missing = {name for name in used if not hasattr(cupy, name) and name != "errstate"}
    assert not missing
