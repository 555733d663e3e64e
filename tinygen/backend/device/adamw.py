"""AdamW in plain steps; the arithmetic and its order are those of the CPU's."""

from math import sqrt
from typing import Any

Array = Any


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
    """Update param, m and v in place; see `numpy_backend/adamw.py` for the equations."""
    scale1 = (1.0 - beta1) / (1.0 - beta1**step)
    scale2 = sqrt((1.0 - beta2) / (1.0 - beta2**step))
    m *= beta1
    m += grad
    v *= beta2
    v += grad * grad
    change = m / (xp.sqrt(v) + eps / scale2)
    change *= lr * scale1 / scale2
    if weight_decay:
        param *= 1.0 - lr * weight_decay
    param -= change
