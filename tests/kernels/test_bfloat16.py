"""bfloat16 arrays through the launchers: exact where all numbers are, and elsewhere within a bound
of a float64 computation on the rounded inputs. Every launch has every check on."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygen import autograd, ops
from tinygen.backend import backend_named
from tinygen.backend.device.matmul import matmul
from tinygen.backend.device.matmul_rungs import RUNGS
from tinygen.backend.launch import Kernel, observed
from tinygen.tensor import Tensor

BF16 = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
DEVICE = os.environ.get("TINYGEN_TEST_DEVICE", "sim")
SIM: Any = backend_named(DEVICE)
pytestmark = pytest.mark.skipif(not SIM.launches, reason="no compiler or NVIDIA's headers")

UNIT = 2.0**-8
"""Half the distance from 1 to the next number."""

Case = tuple[Callable[..., Any], tuple[tuple[int, ...], ...], tuple[str, ...]]


@pytest.fixture(autouse=True)
def _checking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGEN_SIM_CHECK", "1")


def wide(x: Any) -> Any:
    return SIM.to_numpy(x).astype(np.float64)


# ---- products ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rung", "M", "N", "K"),
    [
        (None, 7, 3, 5),
        ("mma", 65, 40, 72),
        pytest.param("registers", 33, 17, 9, marks=pytest.mark.deep),
        pytest.param("wgmma", 129, 72, 128, marks=pytest.mark.deep),
    ],
)
def test_products_of_whole_numbers_are_exact(rung: str | None, M: int, N: int, K: int) -> None:
    """Products and sums of few small ones are whole numbers below 256, which bfloat16 holds."""
    if rung == "wgmma" and SIM.compute_capability != RUNGS[rung].least:
        pytest.skip("wgmma is of one architecture")
    rng = np.random.default_rng(M)
    a, b = (rng.integers(-1, 2, shape).astype(BF16) for shape in ((M, K), (K, N)))
    c = matmul(SIM, SIM.asarray(a), SIM.asarray(b), rung=rung).c
    assert c.dtype == BF16
    np.testing.assert_array_equal(wide(c), a.astype(float) @ b.astype(float))


# ---- ops by the kernels that serve them ----------------------------------------------------------


def labels(n: int) -> Any:
    return SIM.asarray(np.arange(n) % 5)


CASES: dict[str, Case] = {
    "linear": (
        lambda x, w, b: ops.linear(x, w, b, "gelu"),
        ((5, 16), (24, 16), (24,)),
        ("matmul_", "bias_slope_backward"),
    ),
    "attention": (
        lambda q, k, v: ops.attention(q, k, v, causal=True),
        ((1, 2, 9, 16), (1, 2, 9, 16), (1, 2, 9, 16)),
        ("attention_",),
    ),
    "layer_norm": (
        ops.layer_norm,
        ((6, 40), (40,), (40,)),
        ("layer_norm_long", "layer_norm_backward_long"),
    ),
}
DEEP: dict[str, Case] = {
    "attention of odd heads": (
        lambda q, k, v: ops.attention(q, k, v, window=3),
        ((1, 2, 5, 6), (1, 1, 7, 6), (1, 1, 7, 6)),
        ("attention_tiled", "attention_tiled_dq", "attention_tiled_dkv"),
    ),
    "rms_norm": (ops.rms_norm, ((6, 40), (40,)), ("rms_norm_long", "rms_norm_backward_long")),
    "layer_norm in registers": (
        ops.layer_norm,
        ((65, 1024), (1024,), (1024,)),
        ("layer_norm_forward", "layer_norm_backward"),
    ),
    "group_norm": (
        lambda x: ops.group_norm(x, 2, activation="silu"),
        ((2, 9, 8),),
        ("group_norm_",),
    ),
    "softmax": (ops.softmax, ((5, 33),), ("softmax_online", "softmax_backward_long")),
    "gelu": (ops.gelu, ((5, 33),), ("activation_forward",)),
    "rope": (ops.rope, ((2, 5, 8),), ("rope",)),
    "embedding": (
        lambda w: ops.embedding(labels(9), w),
        ((7, 12),),
        ("embedding_backward", "embedding_backward_join"),
    ),
    "cross_entropy": (
        lambda x: ops.cross_entropy(x, labels(6), reduction="none"),
        ((6, 11),),
        ("cross_entropy_forward", "cross_entropy_backward"),
    ),
}


@pytest.mark.parametrize(
    "name", [*CASES, *(pytest.param(name, marks=pytest.mark.deep) for name in DEEP)]
)
def test_an_op_by_kernels_is_that_of_float64_to_a_few_roundings(name: str) -> None:
    """Values and gradients, of inputs that bfloat16 holds. A sum's terms may be rounded once each,
    as the probabilities of attention are on tensor cores, and its result twice."""
    function, shapes, kernels = (CASES | DEEP)[name]
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(BF16) for shape in shapes]
    launched: list[Kernel] = []
    with observed(lambda backend, kernel: launched.append(kernel)):
        leaves = [Tensor(SIM.asarray(a), requires_grad=True) for a in arrays]
        y = function(*leaves)
        g = rng.standard_normal(y.shape).astype(BF16)
        found = [y, *autograd.grad([y], leaves, [SIM.asarray(g)])]
    leaves = [Tensor(SIM.asarray(a.astype(float)), requires_grad=True) for a in arrays]
    y = function(*leaves)
    truth = [y, *autograd.grad([y], leaves, [SIM.asarray(g.astype(float))])]
    for value, exact in zip(found, truth, strict=True):
        assert value is not None
        assert exact is not None
        assert value.dtype == BF16
        error, scale = np.abs(wide(value.data) - wide(exact.data)), np.abs(wide(exact.data))
        assert (error <= 4 * UNIT * scale.max() + 2 * UNIT * scale).all()
    for wanted in kernels:
        assert any(kernel.name.startswith(wanted) for kernel in launched)
    for kernel in launched:
        types = {value for key, value in kernel.definitions if key in ("TYPE", "IN", "OUT")}
        assert types <= {"bf16", "float"}  # float: partial sums
        assert "bf16" in types
