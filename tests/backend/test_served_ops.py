"""Fused ops on the device "sim" (or TINYGEN_TEST_DEVICE), by the kernels that serve them: values
and gradients are the CPU's, with rows in registers and without, from any layout."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygen as tg
from tinygen import autograd, ops
from tinygen.backend import backend_named
from tinygen.backend.device import launching, linear_cross_entropy
from tinygen.backend.device.registry import LAUNCHERS
from tinygen.tensor import Tensor

DEVICE = os.environ.get("TINYGEN_TEST_DEVICE", "sim")
SIM: Any = backend_named(DEVICE)
Case = tuple[Callable[..., Any], tuple[np.ndarray[Any, Any], ...], tuple[str, ...]]

pytestmark = pytest.mark.skipif(not SIM.launches, reason="the simulator needs g++ and cuda_bf16.h")


def case(name: str, rng: np.random.Generator) -> Case:
    """An op, its arrays, and the primitives that kernels are to serve."""

    def normal(*shape: int) -> np.ndarray[Any, Any]:
        return rng.standard_normal(shape).astype(np.float32)

    ids = rng.integers(0, 7, (3, 14))
    targets = np.where(rng.random((3, 4)) < 0.3, -1, rng.integers(0, 20, (3, 4)))
    cases: dict[str, Case] = {
        "layer_norm": (ops.layer_norm, (normal(2, 5, 36), normal(36), normal(36)), ("layer_norm",)),
        "layer_norm plain": (ops.layer_norm, (normal(5, 33),), ("layer_norm",)),
        "rms_norm": (ops.rms_norm, (normal(7, 36), normal(36)), ("rms_norm",)),
        "rms_norm plain": (ops.rms_norm, (normal(3, 1),), ("rms_norm",)),
        "group_norm": (
            lambda x, w, b: ops.group_norm(x, 4, w, b, activation="silu"),
            (normal(2, 5, 3, 24), normal(24), normal(24)),
            ("group_norm",),
        ),
        "group_norm plain": (lambda x: ops.group_norm(x, 3), (normal(2, 7, 9),), ("group_norm",)),
        "softmax": (ops.softmax, (normal(3, 2, 36),), ("softmax",)),
        "softmax of columns": (lambda x: ops.softmax(x, axis=0), (normal(9, 4),), ("softmax",)),
        "log_softmax": (ops.log_softmax, (normal(6, 36),), ("log_softmax",)),
        "cross_entropy": (
            lambda x: ops.cross_entropy(
                x, moved_like(x, targets), ignore_index=-1, label_smoothing=0.1, z_loss=1e-2
            ),
            (normal(3, 4, 20),),
            ("cross_entropy",),
        ),
        "linear_cross_entropy": (
            lambda x, w: ops.linear_cross_entropy(
                x, w, moved_like(x, targets), ignore_index=-1, label_smoothing=0.1, z_loss=1e-2
            ),
            (normal(3, 4, 6), normal(20, 6)),
            ("linear_cross_entropy",),
        ),
        "gelu": (ops.gelu, (4 * normal(3, 7, 4),), ("gelu_forward",)),
        "gelu_tanh": (lambda x: ops.gelu(x, "tanh"), (4 * normal(83),), ("gelu_forward",)),
        "silu": (ops.silu, (4 * normal(64, 4),), ("silu_forward",)),
        "rope": (ops.rope, (normal(2, 5, 12),), ("rotate_pairs",)),
        "rope of neighbours": (
            lambda x: ops.rope(x, interleaved=True),
            (normal(3, 16),),
            ("rotate_pairs",),
        ),
        "embedding": (
            lambda w: ops.embedding(moved_like(w, ids), w),
            (normal(7, 12),),
            ("embedding_backward",),
        ),
    }
    return cases[name]


NAMES = (
    *("layer_norm", "layer_norm plain", "rms_norm", "rms_norm plain"),
    *("group_norm", "group_norm plain", "softmax", "softmax of columns", "log_softmax"),
    *("cross_entropy", "linear_cross_entropy", "gelu", "gelu_tanh", "silu", "embedding"),
    *("rope", "rope of neighbours"),
)


def moved_like(x: Any, array: Any) -> Any:
    return tg.tensor(array, device=x.device).data


def values_and_gradients(
    function: Callable[..., Any], arrays: tuple[Any, ...], device: str, *, strided: bool = False
) -> list[np.ndarray[Any, Any]]:
    leaves = []
    for x in arrays:
        if strided and x.ndim > 1:  # the same numbers, last axis first in memory
            x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, -1, 0)), 0, -1)
        leaves.append(Tensor(backend_named(device).asarray(x), requires_grad=True))
    y = function(*leaves)
    g = np.random.default_rng(1).uniform(-1, 1, y.shape).astype(arrays[0].dtype)
    found = autograd.grad([y], leaves, [backend_named(device).asarray(g)])
    return [t.to("cpu").numpy() for t in (y.detach(), *found)]


OF_ROWS = ("layer_norm", "rms_norm", "softmax", "log_softmax")


@pytest.mark.parametrize(
    ("name", "registers"),
    [(name, False) for name in NAMES]
    + [(name, True) for name in NAMES if name.startswith(OF_ROWS)],
)
def test_an_op_by_kernels_is_that_of_the_cpu(
    name: str, registers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "WORTH_COMPILING", 0 if registers else 1 << 60)
    monkeypatch.setattr(linear_cross_entropy, "LOGITS", 100)  # five rows at a time
    function, arrays, primitives = case(name, np.random.default_rng(len(name)))
    launched: list[str] = []
    run = SIM.run
    monkeypatch.setattr(
        SIM, "run", lambda kernel, *rest: (launched.append(kernel.name), run(kernel, *rest))
    )
    assert all(any(served.startswith(p) for served in LAUNCHERS) for p in primitives)
    wanted = values_and_gradients(function, arrays, "cpu")
    found = values_and_gradients(function, arrays, DEVICE)
    assert launched, "no kernel was launched"
    strided = values_and_gradients(function, arrays, DEVICE, strided=True)
    for a, b, c in zip(wanted, found, strided, strict=True):
        assert (b.shape, b.dtype) == (a.shape, a.dtype)
        np.testing.assert_allclose(b, a, rtol=0, atol=3e-6 * max(1, np.abs(a).max()))
        np.testing.assert_array_equal(c, b)


@pytest.mark.deep
@pytest.mark.parametrize("name", NAMES)
def test_an_op_in_float16(name: str) -> None:
    """That of the CPU in float32, from the same numbers, to the rounding of its results."""
    function, arrays, _ = case(name, np.random.default_rng(len(name)))
    halves = tuple(x.astype(np.float16) for x in arrays)
    wanted = values_and_gradients(function, tuple(x.astype(np.float32) for x in halves), "cpu")
    found = values_and_gradients(function, halves, DEVICE)
    for a, b in zip(wanted, found, strict=True):
        assert b.dtype == np.float16
        np.testing.assert_allclose(b, a, rtol=0, atol=4e-3 * max(1, np.abs(a).max()))


def test_float64_takes_the_plain_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SIM, "run", None)
    x = np.random.default_rng(0).standard_normal((3, 8))
    (wanted, slope), (found, again) = (
        values_and_gradients(ops.softmax, (x,), device) for device in ("cpu", DEVICE)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    np.testing.assert_allclose(again, slope, rtol=1e-10)


@pytest.mark.parametrize("start", [0, 1])
def test_adamw_by_kernel(start: int) -> None:
    """From an aligned slice and from one that is not; several steps."""
    rng = np.random.default_rng(start)
    stored = [rng.standard_normal(1031).astype(np.float32) for _ in range(4)]
    stored[3] = np.abs(stored[3])
    there = [SIM.asarray(x) for x in stored]
    options = {"lr": 1e-2, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1}
    for step in (1, 2, 3):
        for backend, arrays in ((backend_named("cpu"), stored), (SIM, there)):
            slices = [x[start:1027] for x in arrays]
            backend.adamw_update(
                *slices, step=step, scratch=backend.empty((1031,), "float32"), **options
            )
    for a, b in zip(stored, there, strict=True):
        np.testing.assert_allclose(SIM.to_numpy(b), a, rtol=1e-5, atol=1e-6)


def test_random_numbers_of_the_device_are_those_of_the_cpu() -> None:
    """And the streams stand at the same place after each draw; dropout draws its mask there."""
    here, there = tg.random.Generator(3), tg.random.Generator(3)
    for shape in ((7,), (3, 5), (), (0, 2), (2050,)):
        for draw in ("uniform", "normal"):
            a = getattr(here, draw)(shape)
            b = getattr(there, draw)(shape, device=DEVICE)
            assert type(b) is SIM.array_type
            assert (b.shape, b.dtype) == (a.shape, a.dtype)
            exact = 0 if draw == "uniform" else 4e-6
            np.testing.assert_allclose(SIM.to_numpy(b), a, rtol=0, atol=exact)
            assert here.state_dict() == there.state_dict()
    a, b = here.uniform((9,), -2, 5), there.uniform((9,), -2, 5, device=DEVICE)
    np.testing.assert_array_equal(SIM.to_numpy(b), a)


@pytest.mark.parametrize("shape", [(40, 3), (2, 9, 128), (0, 4), ()])
def test_dropout_draws_its_mask_inside(shape: tuple[int, ...]) -> None:
    """The CPU's mask, in forward, backward and second order; the stream stands where it should."""
    here, there = tg.random.Generator(3), tg.random.Generator(3)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for _ in range(2):
        a = Tensor(x, requires_grad=True)
        b = Tensor(SIM.asarray(x), requires_grad=True)
        ys = ops.dropout(a, 0.3, rng=here), ops.dropout(b, 0.3, rng=there)
        assert here.state_dict() == there.state_dict()
        for leaf, y in zip((a, b), ys, strict=True):
            (slope,) = autograd.grad([ops.sum(y * y)], [leaf], create_graph=True)
            ops.sum(slope * slope).backward()
        np.testing.assert_array_equal(ys[1].numpy(), ys[0].numpy())
        assert a.grad is not None
        assert b.grad is not None
        np.testing.assert_allclose(b.grad.numpy(), a.grad.numpy(), rtol=1e-6)


def test_draws_on_a_device_are_replayed() -> None:
    rng = tg.random.Generator(0)
    with tg.random.record_draws() as draws:
        first = rng.normal((5,), device=DEVICE)
    with tg.random.replay(draws):
        again = rng.normal((5,), device=DEVICE)
    np.testing.assert_array_equal(SIM.to_numpy(first), SIM.to_numpy(again))
