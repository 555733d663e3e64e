"""Tensors of bfloat16, by the package ml_dtypes: what makes them, what every op makes of them, and
what there is without the package."""

import os
import sys
from typing import Any

import numpy as np
import pytest

import tinygen as tg
from tinygen import autograd
from tinygen.backend.device.registry import Launcher
from tinygen.errors import DtypeError, InterchangeError, UnavailableError, UsageError
from tinygen.tensor import Tensor
from tinygen.testing.bounds import as_tuple
from tinygen.testing.catalogue import Op, load
from tinygen.testing.drawing import Call

ml_dtypes = pytest.importorskip("ml_dtypes")
BF16 = np.dtype(ml_dtypes.bfloat16)
OPS = {name: op for name, op in load().items() if op.takes_arrays}
DEVICE = os.environ.get("TINYGEN_TEST_DEVICE", "sim")
DEVICES = ["cpu", DEVICE]


def rounded(x: Any, dtype: Any) -> Any:
    """An array of floats with numbers that bfloat16 holds, in `dtype`."""
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        return x
    return x.astype(np.float32).astype(BF16).astype(dtype)


# ---- making them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
def test_numbers_are_rounded_to_the_nearest_and_ties_to_even(device: str) -> None:
    between = [1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-16, -(1 + 2**-8), 3.0, np.inf, np.nan]
    x = tg.tensor(between, "bfloat16", device)
    assert x.dtype == BF16
    nearest = [1, 1 + 2**-6, 1 + 2**-7, -1, 3, np.inf, np.nan]
    np.testing.assert_array_equal(x.astype("float32").numpy(), nearest)
    np.testing.assert_array_equal(
        tg.tensor(between, device=device).astype("bfloat16").tolist(), nearest
    )
    assert x[4].item() == 3.0
    assert "dtype=bfloat16" in repr(x)
    assert x.to("cpu").numpy().dtype == BF16


@pytest.mark.parametrize("device", DEVICES)
def test_new_tensors(device: str) -> None:
    for make in (tg.zeros, tg.ones, tg.eye, tg.arange):
        x = make(3, dtype="bfloat16", device=device)
        assert (x.dtype, x.device) == (BF16, device)
        np.testing.assert_array_equal(x.astype("float32").numpy(), make(3).numpy())
    x = tg.full((2,), 0.5, dtype="bfloat16", device=device)
    for y in (tg.ones_like(x), x.clone(), x.detach(), x[:1], x.reshape(1, 2), x.to("cpu")):
        assert y.dtype == BF16
    assert tg.Tensor(np.ones(3, BF16)).dtype == BF16
    for view in (x[:1], x.reshape(1, 2), tg.ops.expand_dims(x, 0)):
        view.data[...] = 2
        assert x.tolist()[0] == 2
        x.data[...] = 0.5


# ---- ops -----------------------------------------------------------------------------------------


def values_and_gradients(op: Op, call: Call, dtype: Any, device: str) -> list[Any]:
    backend: Any = tg.backend.backend_named(device)

    def put(x: Any) -> Any:
        return backend.asarray(rounded(x, dtype)) if isinstance(x, np.ndarray) else x

    places = op.inputs(call)
    arguments = [
        Tensor(put(x), requires_grad=i in places) if isinstance(x, np.ndarray) else x
        for i, x in enumerate(call.arrays)
    ]
    ys = as_tuple(op.fn(*arguments, **{name: put(x) for name, x in call.params.items()}))
    tensors = [y for y in ys if isinstance(y, Tensor)]
    roots, leaves = [y for y in tensors if y.requires_grad], [arguments[i] for i in places]
    results = [y.data for y in tensors]
    if roots and leaves:
        rng = np.random.default_rng(0)
        gs = [put(rng.uniform(-1, 1, y.shape).astype(np.float32)) for y in roots]
        found = autograd.grad(roots, leaves, gs, allow_unused=True)
        results += [None if g is None else g.data for g in found]
    return [None if x is None else backend.to_numpy(x) for x in results]


FREE = ("one_hot", "astype")
"""Ops whose dtype is an argument."""


def is_float32s_rounded(name: str, device: str) -> None:
    """Where no kernel takes bfloat16, an op computes in float32 and rounds once; kernels and fused
    twins may round what lies between, which the bound of the largest element has room for."""
    op = OPS[name]
    call = op.samples[0].cast(np.float32)
    with np.errstate(all="ignore"):
        expected = values_and_gradients(op, call, np.float32, "cpu")
        found = values_and_gradients(op, call, BF16, device)
    assert len(found) == len(expected)
    for y, exact in zip(found, expected, strict=True):
        if exact is None or exact.dtype.kind != "f":
            np.testing.assert_array_equal(y, exact)
            continue
        assert y.dtype == BF16
        largest = np.abs(exact[np.isfinite(exact)]).max(initial=1e-30)
        np.testing.assert_allclose(
            y.astype(np.float32), exact, rtol=0, atol=3 * 2.0**-8 * largest, err_msg=name
        )


@pytest.mark.parametrize("name", [name for name in OPS if name not in FREE])
def test_an_op_of_bfloat16_is_float32s_rounded(name: str) -> None:
    is_float32s_rounded(name, "cpu")


@pytest.mark.deep
@pytest.mark.parametrize("name", [name for name in OPS if name not in FREE])
def test_an_op_of_bfloat16_on_a_device_is_float32s_rounded(name: str) -> None:
    is_float32s_rounded(name, DEVICE)


@pytest.mark.parametrize("device", DEVICES)
def test_plain_ops_round_once(device: str) -> None:
    """1 + 2^-8 is no number of bfloat16: x (1 + 2^-8) - x, in steps of that dtype, would be 0."""
    x = tg.tensor([256.0, 3.0], "bfloat16", device)
    assert (x * (1 + 2**-8)).tolist() == [256.0, 3.015625]
    assert (x * 2.5 + 1).dtype == BF16
    assert tg.tensor([1.0] * 512, "bfloat16", device).sum().item() == 512  # steps would end at 256


def test_what_meets_bfloat16() -> None:
    x = tg.tensor([1.5, 2.5], "bfloat16")
    assert (x + tg.ones(2)).dtype == np.float32
    assert (x + tg.ones(2, dtype="float64")).dtype == np.float64
    assert (x > 2).tolist() == [False, True]
    with pytest.raises(DtypeError, match=r"bfloat16.*float16.*astype"):
        x + tg.ones(2, dtype="float16")
    with pytest.raises(DtypeError, match=r"linear: x is bfloat16 but weight is float32"):
        tg.ops.linear(x, tg.ones((3, 2)))


# ---- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
def test_weights_in_float32_learn_through_products_in_bfloat16(device: str) -> None:
    """Mixed precision as one writes it: master weights, and their gradients, are float32."""
    rng = tg.random.Generator(0)
    w = tg.tensor(rng.normal((4, 8)), device=device, requires_grad=True)
    x = tg.tensor(rng.normal((16, 8)), "bfloat16", device)
    target = x @ tg.tensor(rng.normal((8, 4)), "bfloat16", device)
    optimizer = tg.optim.AdamW([w], lr=0.1, weight_decay=0)
    losses = []
    for _ in range(30):
        y = tg.ops.linear(x, w.astype("bfloat16"))
        assert y.dtype == BF16
        loss = tg.ops.mse_loss(y.astype("float32"), target.astype("float32"))
        optimizer.zero_grad()
        loss.backward()
        assert w.grad is not None
        assert w.grad.dtype == np.float32
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_of_every_order(device: str) -> None:
    x = tg.tensor([1.0, -2.0], "bfloat16", device, requires_grad=True)
    (first,) = autograd.grad((x**3).sum(), [x], create_graph=True)
    assert first is not None
    (second,) = autograd.grad(first.sum(), [x])
    assert second is not None
    assert (first.dtype, second.dtype) == (BF16, BF16)
    assert (first.tolist(), second.tolist()) == ([3.0, 12.0], [6.0, -12.0])


def test_outputs_that_nobody_uses_have_gradients_of_zero() -> None:
    x = tg.tensor([1.0, 2.0], "bfloat16", requires_grad=True)
    first, _ = tg.ops.unstack(x)
    first.backward()
    assert x.grad is not None
    assert (x.grad.dtype, x.grad.tolist()) == (BF16, [1.0, 0.0])


# ---- what may not be -----------------------------------------------------------------------------


def test_without_the_package_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    for make in (
        lambda: tg.tensor([1.0], "bfloat16"),
        lambda: tg.zeros(2, dtype="bfloat16"),
        lambda: tg.ones(2).astype("bfloat16"),
    ):
        with pytest.raises(UnavailableError, match=r"ml_dtypes.*pip install .*bfloat16"):
            make()
    assert tg.ones(2).astype("float16").tolist() == [1, 1]


def test_kernels_of_other_dtypes_do_not_take_it() -> None:
    launcher = Launcher(lambda: None, ("float32",), lambda arrays, params: True)
    assert launcher.suits([np.ones(2, np.float32)], {})
    assert not launcher.suits([np.ones(2, BF16)], {})


def test_other_dtypes_of_the_package_and_raw_bytes_are_refused() -> None:
    for other in (np.ones(2, ml_dtypes.float8_e4m3fn), np.zeros(2, "V2")):
        with pytest.raises(DtypeError):
            tg.tensor(other)
        with pytest.raises(DtypeError):
            tg.ops.exp(other)
    with pytest.raises(DtypeError):
        tg.ones(2).astype(ml_dtypes.float8_e4m3fn)


def test_parameters_stay_in_float32() -> None:
    x = tg.tensor([1.0], "bfloat16", requires_grad=True)
    with pytest.raises(UsageError, match=r"bfloat16\[1\].*float32.*astype"):
        tg.optim.SGD([x], lr=0.1)
    with pytest.raises(DtypeError, match="float32 or float64, not bfloat16"):
        tg.nn.Linear(2, 2, rng=tg.random.Generator(0)).to(dtype="bfloat16")
    with pytest.raises(InterchangeError, match="bfloat16 cannot be exported"):
        np.from_dlpack(x.detach())
