"""AdamW by kernels/adamw.cu, and in plain steps; see `numpy_backend/adamw.py` for the equations."""

from typing import Any

import numpy as np

from tinygen.backend.device.launching import blocks, persistent, vector
from tinygen.backend.device.rungs import rung_of
from tinygen.backend.launch import Kernel, launch
from tinygen.backend.numpy_backend.adamw import rate_and_damping

Array = Any

THREADS = 256


def adamw_update(
    xp: Any,
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    step: int,
) -> None:
    """Update param, m and v in place, in the CPU's order of operations."""
    rate, damping = rate_and_damping(lr, beta1, beta2, eps, step)
    m *= beta1
    m += grad
    v *= beta2
    v += grad * grad
    change = m / (xp.sqrt(v) + damping)
    change *= rate
    if weight_decay:
        param *= 1.0 - lr * weight_decay
    param -= change


def adamw_by_kernel(
    backend: Any,
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    step: int,
) -> None:
    """The same in one pass over the float32 vectors."""
    rate, damping = rate_and_damping(lr, beta1, beta2, eps, step)
    scalars = (beta1, beta2, 1.0 - lr * weight_decay, rate, damping, 1.0)
    # A slice may begin anywhere; its end is no multiple of four, which the kernel knows.
    width = vector(backend, 0, param, grad, m, v)
    fixed = {"TYPE": "float", "VECTOR": width}
    if rung_of(backend, "adamw") == "naive":
        kernel, grid = Kernel("adamw.cu", "adamw_naive", **fixed), blocks(param.size, THREADS)
    else:
        kernel = Kernel("adamw.cu", "adamw_update_by_value", **fixed)
        grid = persistent(backend, blocks(param.size, THREADS * width))
    args = [param, None, m, v, grad, np.int64(param.size), *map(np.float32, scalars)]
    launch(backend, kernel, (grid,), (THREADS,), args)
