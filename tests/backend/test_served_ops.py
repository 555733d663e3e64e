"""Fused ops on the device "sim" (or TINYGEN_TEST_DEVICE), by the kernels that serve them: values
and gradients are the CPU's by each rung of their ladders, from any layout."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import tinygen as tg
from tinygen import autograd, ops
from tinygen.backend import backend_named
from tinygen.backend.device import launching, linear_cross_entropy, matmul_rungs
from tinygen.backend.device.rungs import RUNGS
from tinygen.backend.launch import observed
from tinygen.errors import UsageError
from tinygen.tensor import Tensor

DEVICE = os.environ.get("TINYGEN_TEST_DEVICE", "sim")
SIM: Any = backend_named(DEVICE)
Case = tuple[Callable[..., Any], tuple[np.ndarray[Any, Any], ...]]

pytestmark = pytest.mark.skipif(not SIM.launches, reason="the simulator needs g++ and cuda_bf16.h")


def case(name: str, rng: np.random.Generator) -> Case:
    """An op and its arrays."""

    def normal(*shape: int) -> np.ndarray[Any, Any]:
        return rng.standard_normal(shape).astype(np.float32)

    ids = rng.integers(0, 7, (3, 14))
    targets = np.where(rng.random((3, 4)) < 0.3, -1, rng.integers(0, 20, (3, 4)))
    cases: dict[str, Case] = {
        "layer_norm": (ops.layer_norm, (normal(2, 5, 36), normal(36), normal(36))),
        "layer_norm plain": (ops.layer_norm, (normal(5, 33),)),
        "rms_norm": (ops.rms_norm, (normal(7, 36), normal(36))),
        "rms_norm plain": (ops.rms_norm, (normal(3, 1),)),
        "add_layer_norm": (
            lambda *arrays: both(ops.add_layer_norm(*arrays)),
            (normal(2, 5, 36), normal(2, 5, 36), normal(36), normal(36)),
        ),
        "add_layer_norm plain": (
            lambda *arrays: both(ops.add_layer_norm(*arrays)),
            (normal(5, 33), normal(5, 33)),
        ),
        "add_rms_norm": (
            lambda *arrays: both(ops.add_rms_norm(*arrays)),
            (normal(7, 36), normal(7, 36), normal(36)),
        ),
        "group_norm": (
            lambda x, w, b: ops.group_norm(x, 4, w, b, activation="silu"),
            (normal(2, 5, 3, 24), normal(24), normal(24)),
        ),
        "group_norm plain": (lambda x: ops.group_norm(x, 3), (normal(2, 7, 9),)),
        "softmax": (ops.softmax, (normal(3, 2, 36),)),
        "softmax of columns": (lambda x: ops.softmax(x, axis=0), (normal(9, 4),)),
        "log_softmax": (ops.log_softmax, (normal(6, 36),)),
        "cross_entropy": (
            lambda x: ops.cross_entropy(
                x, moved_like(x, targets), ignore_index=-1, label_smoothing=0.1, z_loss=1e-2
            ),
            (normal(3, 4, 20),),
        ),
        "linear_cross_entropy": (
            lambda x, w: ops.linear_cross_entropy(
                x, w, moved_like(x, targets), ignore_index=-1, label_smoothing=0.1, z_loss=1e-2
            ),
            (normal(3, 4, 6), normal(20, 6)),
        ),
        "gelu": (ops.gelu, (4 * normal(3, 7, 4),)),
        "gelu_tanh": (lambda x: ops.gelu(x, "tanh"), (4 * normal(83),)),
        "silu": (ops.silu, (4 * normal(64, 4),)),
        "swiglu": (ops.swiglu, (4 * normal(3, 7, 4), normal(3, 7, 4))),
        "swiglu of halves": (
            lambda x: ops.swiglu(x[..., :12], x[..., 12:]),
            (4 * normal(2, 9, 24),),
        ),
        "swiglu of numbers": (ops.swiglu, (normal(), normal())),
        "rope": (ops.rope, (normal(2, 5, 12),)),
        "rope of neighbours": (
            lambda x: ops.rope(x, interleaved=True),
            (normal(3, 16),),
        ),
        "linear": (ops.linear, (normal(2, 5, 6), normal(7, 6), normal(7))),
        "embedding": (
            lambda w: ops.embedding(moved_like(w, ids), w),
            (normal(7, 12),),
        ),
    }
    return cases[name]


NAMES = (
    *("layer_norm", "layer_norm plain", "rms_norm", "rms_norm plain"),
    *("add_layer_norm", "add_layer_norm plain", "add_rms_norm"),
    *("group_norm", "group_norm plain", "softmax", "softmax of columns", "log_softmax"),
    *("cross_entropy", "linear_cross_entropy", "gelu", "gelu_tanh", "silu", "embedding"),
    *("swiglu", "swiglu of halves", "swiglu of numbers", "rope", "rope of neighbours", "linear"),
)

SHARED = {
    "add_layer_norm": "layer_norm",
    "add_rms_norm": "rms_norm",
    "linear_cross_entropy": "cross_entropy",
    "linear": "column_sums",  # the gradient of its bias
    **dict.fromkeys(("gelu", "gelu_tanh", "silu"), "activation"),
}


def operation_of(name: str) -> str:
    """Whose rungs serve a case."""
    op = name.partition(" ")[0]
    return SHARED.get(op, op)


def both(results: tuple[Any, Any]) -> Any:
    """One array of two outputs, so that each has a gradient of its own."""
    return ops.concat(results, axis=0)


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


@pytest.mark.parametrize(
    ("name", "rung"),
    [(name, rung) for name in NAMES for rung in RUNGS[operation_of(name)]],
)
def test_an_op_by_each_rung_is_that_of_the_cpu(
    name: str, rung: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SIM, "rungs", {operation_of(name): rung})
    monkeypatch.setattr(linear_cross_entropy, "LOGITS", 100)  # five rows at a time
    function, arrays = case(name, np.random.default_rng(len(name)))
    wanted = values_and_gradients(function, arrays, "cpu")
    with launched() as kernels:
        found = values_and_gradients(function, arrays, DEVICE)
    assert kernels, "no kernel was launched"
    assert any(kernel.endswith("_naive") for kernel in kernels) == (rung == "naive")
    strided = values_and_gradients(function, arrays, DEVICE, strided=True)
    for a, b, c in zip(wanted, found, strided, strict=True):
        assert (b.shape, b.dtype) == (a.shape, a.dtype)
        np.testing.assert_allclose(b, a, rtol=0, atol=3e-6 * max(1, np.abs(a).max()))
        np.testing.assert_array_equal(c, b)


@contextmanager
def launched() -> Iterator[list[str]]:
    """The names of the kernels that are launched inside."""
    names: list[str] = []
    with observed(lambda backend, kernel: names.append(kernel.name)):
        yield names


def test_rows_lie_in_registers_where_that_is_worth_a_compilation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = SIM.asarray(np.ones((4, 40), np.float32))
    for least, kernel in ((161, "softmax_online"), (160, "softmax_forward")):
        monkeypatch.setattr(launching, "WORTH_COMPILING", least)
        with launched() as kernels:
            SIM.softmax(x)
        assert kernels == [kernel]


@pytest.mark.parametrize(
    ("operation", "rung", "sentence"),
    [
        ("softmax", "fastest", "softmax has no rung 'fastest'; it has naive, online, registers"),
        ("matmul", "chunks", "matmul has no rung 'chunks'; it has naive, tiled"),
        ("soft_max", "naive", "no operation 'soft_max' has rungs; these have: activation, adamw"),
    ],
)
def test_a_rung_that_there_is_not_is_named(
    operation: str, rung: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever runs first, so that no misspelt choice goes unnoticed."""
    monkeypatch.setattr(SIM, "rungs", {operation: rung})
    with pytest.raises(UsageError, match=re.escape(sentence)):
        SIM.softmax(SIM.asarray(np.ones((2, 3), np.float32)))


def test_rows_too_long_for_registers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SIM, "rungs", {"softmax": "registers"})
    x = SIM.asarray(np.ones((1, launching.LONGEST_IN_REGISTERS + 1), np.float32))
    with pytest.raises(UsageError, match="takes rows of at most 16384 elements, not 16385"):
        SIM.softmax(x)


@pytest.mark.parametrize("rung", RUNGS["cast"])
def test_casts_by_kernel(rung: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From an aligned slice and from one that is not, and of transposed matrices; as on the CPU."""
    monkeypatch.setattr(SIM, "rungs", {"cast": rung})
    x = (300 * np.random.default_rng(0).standard_normal((2, 37))).astype(np.float32)
    x[0, :5] = [np.inf, -np.inf, 65520, 6e-8, -0.0]
    for name, array, kernel in (
        ("whole", x, "cast"),
        ("slice", x.reshape(-1)[1:], "cast"),
        ("turned", x.T, "transpose"),
        ("steps", x[:, ::2], None),
    ):
        there = SIM.asarray(x)
        view = {"slice": there.reshape(-1)[1:], "turned": there.T, "steps": there[:, ::2]}
        with launched() as kernels, np.errstate(over="ignore"):
            half = ops.astype(view.get(name, there), "float16")
            wanted = array.astype(np.float16)
        naive = rung == "naive" and kernel == "cast"
        assert kernels == ([] if kernel is None else [f"{kernel}_naive" if naive else kernel])
        np.testing.assert_array_equal(SIM.to_numpy(half), wanted, strict=True)
        assert SIM.to_numpy(ops.astype(half, "float32")).tobytes() == wanted.astype("f4").tobytes()


TURNS: list[tuple[tuple[int, ...], bool]] = [
    ((1, 0, 2, 3), False),  # the last axis stays
    ((0, 2, 3, 1), True),
    ((0, 3, 1, 2), True),
    ((2, 3, 0, 1), True),
    ((3, 0, 1, 2), True),
    ((0, 3, 2, 1), False),
    ((0, 1, 3, 2), True),
]


@pytest.mark.parametrize(("axes", "turned"), TURNS)
@pytest.mark.parametrize("rung", RUNGS["transpose"])
def test_copies_of_transposed_matrices(
    rung: str, axes: tuple[int, ...], turned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever axes rows and columns are made of; other views are copied element by element."""
    monkeypatch.setattr(SIM, "rungs", {"transpose": rung})
    x = np.random.default_rng(0).standard_normal((3, 5, 34, 2)).astype(np.float32)
    with launched() as kernels:
        copied = ops.copy(SIM.asarray(x).transpose(axes))
    assert kernels == (["transpose_naive" if rung == "naive" else "transpose"] if turned else [])
    assert copied.flags.c_contiguous
    np.testing.assert_array_equal(SIM.to_numpy(copied), x.transpose(axes))


def test_what_is_no_transposed_matrix_is_copied_plainly() -> None:
    x = SIM.asarray(np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32))
    views = [x[:, ::-1], x[::2].T, x[:, :5].T, SIM.xp.broadcast_to(x[0], (3, 8)).T, x[:0].T]
    for view in [*views, x.astype("float64").T]:
        with launched() as kernels:
            copied = ops.copy(view)
        assert not kernels
        np.testing.assert_array_equal(SIM.to_numpy(copied), SIM.to_numpy(view), strict=True)


@pytest.mark.parametrize("rung", RUNGS["topk"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_topk_by_kernel(rung: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Along any axis, equals from the left and NaN first; and its gradient."""
    monkeypatch.setattr(SIM, "rungs", {"topk": rung})
    x = np.random.default_rng(0).integers(-3, 3, (3, 40, 5)).astype(dtype)
    x[1, 7, 2], x[1, 30, 2] = np.nan, np.nan
    for axis in (0, 1, -1):
        here = Tensor(x, requires_grad=True)
        there = Tensor(SIM.asarray(x), requires_grad=True)
        with launched() as kernels:
            found = ops.topk(there, 3, axis)
        assert kernels[-1] == ("topk_select_naive" if rung == "naive" else "topk_select")
        for a, b in zip(ops.topk(here, 3, axis), found, strict=True):
            np.testing.assert_array_equal(b.numpy(), a.numpy(), strict=True)
        for leaf, (values, _) in ((here, ops.topk(here, 3, axis)), (there, found)):
            ops.sum(ops.where(values == values, values, 0)).backward()
            assert leaf.grad is not None
        np.testing.assert_array_equal(there.grad.numpy(), here.grad.numpy())


def test_what_topk_has_no_kernel_for_is_left_to_plain_steps() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3000))
    for array, k in ((x, 3), (x.astype(np.float32), 2049), (x[:0].astype(np.float32), 3)):
        with launched() as kernels:
            values, places = ops.topk(SIM.asarray(array), k)
        assert not kernels
        for a, b in zip(ops.topk(array, k), (values, places), strict=True):
            np.testing.assert_array_equal(SIM.to_numpy(b), a, strict=True)


def test_the_table_of_rungs_is_that_of_matmul() -> None:
    assert RUNGS["matmul"] == tuple(matmul_rungs.RUNGS)


@pytest.mark.deep
@pytest.mark.parametrize("name", NAMES)
def test_an_op_in_float16(name: str) -> None:
    """That of the CPU in float32, from the same numbers, to the rounding of its results."""
    function, arrays = case(name, np.random.default_rng(len(name)))
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


@pytest.mark.parametrize(("start", "rung"), [(0, "vectors"), (1, "vectors"), (1, "naive")])
def test_adamw_by_kernel(start: int, rung: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From an aligned slice and from one that is not; several steps."""
    monkeypatch.setattr(SIM, "rungs", {"adamw": rung})
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


@pytest.mark.parametrize("rung", RUNGS["random"])
def test_random_numbers_of_the_device_are_those_of_the_cpu(
    rung: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the streams stand at the same place after each draw."""
    monkeypatch.setattr(SIM, "rungs", {"random": rung})
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
@pytest.mark.parametrize("rung", RUNGS["dropout"])
def test_dropout_draws_its_mask_inside(
    rung: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU's mask, in forward, backward and second order; the stream stands where it should."""
    monkeypatch.setattr(SIM, "rungs", {"dropout": rung})
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
