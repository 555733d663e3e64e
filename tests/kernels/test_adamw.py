"""kernels/adamw.cu: the global norm, clipping, and the update of all parameters in one launch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from on_simulator import BF16, F16, FLOAT, Array, Format, blocks, numbers, out, run, updated

FILE = "adamw.cu"
LR, STEP, DECAY, RATE, DAMPING, CLIP, NORM = range(7)
"""Places in the state."""
BETAS, EPS, WEIGHT_DECAY, MAX_NORM = (0.9, 0.99), 1e-8, 0.1, 1.0


def close(got: Array, truth: Array, unit: float = FLOAT.unit) -> None:
    assert (np.abs(got - truth) <= 8 * unit * np.maximum(np.abs(truth), 1)).all()


def check(seed: int, n: int, step: int, format: Format) -> None:
    rng = np.random.default_rng(seed)
    param, m = (numbers(rng, FLOAT, n) for _ in range(2))
    v, grad = np.abs(numbers(rng, FLOAT, n)), numbers(rng, format, n, scale=2 / np.sqrt(n))
    g = format.decode(grad).astype(float)
    state = np.zeros(8, np.float32)
    state[LR], state[STEP] = 1e-2, step - 1
    fixed, size = {"TYPE": format.name}, np.int64(n)

    (partial,) = run(FILE, "grad_norm_partial", 3, 256, [out(3), grad, size], **fixed)
    args = [updated(state), partial, np.int32(3), np.float32(MAX_NORM)]
    (state,) = run(FILE, "grad_norm_finish", 1, 256, args, **fixed)
    norm = np.sqrt((g * g).sum())
    clip = min(1, MAX_NORM / norm)
    assert abs(state[NORM] / norm - 1) < 1e-6
    assert abs(state[CLIP] / clip - 1) < 1e-6
    args = [updated(state), grad, size, np.float32(MAX_NORM)]
    (naive,) = run(FILE, "grad_norm_naive", 1, 256, args, **fixed)
    assert abs(naive[NORM] / norm - 1) < 1e-6

    settings = map(np.float64, (*BETAS, EPS, WEIGHT_DECAY))
    (state,) = run(FILE, "adamw_begin", 1, 1, [updated(state), *settings], **fixed)
    assert state[STEP] == step
    beta1, beta2 = BETAS
    lr = float(state[LR])
    c1, c2 = (1 - beta1) / (1 - beta1**step), (1 - beta2) / (1 - beta2**step)
    first, second = beta1 * m + clip * g, beta2 * v + (clip * g) ** 2
    truth = (1 - lr * WEIGHT_DECAY) * param - lr * c1 * first / (np.sqrt(c2 * second) + EPS)

    arrays = [updated(param), out(n, format), updated(m), updated(v), grad]
    betas = [np.float32(beta1), np.float32(beta2)]
    results = run(FILE, "adamw_update", 2, 256, [*arrays, state, size, *betas], **fixed)
    scalars = [*betas, *state[[DECAY, RATE, DAMPING, CLIP]]]
    by_value = [
        run(FILE, name, grid, 256, [*arrays, size, *scalars], **fixed)
        for name, grid in (("adamw_naive", blocks(n, 256)), ("adamw_update_by_value", 2))
    ]
    for got in (results, *by_value):
        for array, exact in zip((got[0], got[2], got[3]), (truth, first, second), strict=True):
            close(array, exact)
        assert got[1].tobytes() == format.encode(got[0]).tobytes()
        assert got[0].tobytes() == results[0].tobytes()


@settings(max_examples=3)
@given(
    seed=st.integers(0, 2**32),
    n=st.sampled_from([1, 3, 4, 5, 1023, 2051]),
    step=st.integers(1, 1000),
)
@pytest.mark.parametrize("format", [FLOAT, BF16], ids=["float", "bf16"])
def test_update(seed: int, n: int, step: int, format: Format) -> None:
    check(seed, n, step, format)


@pytest.mark.deep
@pytest.mark.parametrize("format", [FLOAT, BF16, F16], ids=lambda f: f.name)
def test_update_at_every_edge(format: Format) -> None:
    for n in (1, 2, 3, 4, 5, 7, 8, 9, 255, 256, 257, 1023, 1024, 1025, 2047, 2048, 2049, 4099):
        check(n, n, n, format)


def test_a_gradient_that_is_not_finite_is_not_scaled() -> None:
    state, grad = np.zeros(8, np.float32), np.array([1, np.inf, 2], np.float32)
    (partial,) = run(FILE, "grad_norm_partial", 1, 256, [out(1), grad, np.int64(3)], TYPE="float")
    args = [updated(state), partial, np.int32(1), np.float32(1)]
    (state,) = run(FILE, "grad_norm_finish", 1, 256, args, TYPE="float")
    assert state[NORM] == np.inf
    assert state[CLIP] == 1
