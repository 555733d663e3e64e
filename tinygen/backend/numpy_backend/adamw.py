"""One AdamW update of one cache-sized slice (Loshchilov and Hutter 2019, algorithm 2, as PyTorch
has it)."""

from math import sqrt

import numpy as np

from tinygen.backend.numpy_backend.array import Array


def adamw_update(
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
    scratch: Array,
) -> None:
    """Update param, m and v in place; all are vectors of one length, `scratch` at least as long.

        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) g^2
        param <- (1 - lr weight_decay) param
                 - lr/(1 - beta1^t) m / (sqrt(v)/sqrt(1 - beta2^t) + eps)

    with t = `step`, which starts at 1.

    The bias corrections are scalars: both are moved out of the quotient, so that they cost no pass.
    """
    t = scratch[: param.size]
    correction2 = sqrt(1.0 - beta2**step)

    np.subtract(grad, m, out=t)
    t *= 1.0 - beta1
    m += t

    np.multiply(grad, grad, out=t)
    t *= 1.0 - beta2
    v *= beta2
    v += t

    np.sqrt(v, out=t)
    t += eps * correction2
    np.divide(m, t, out=t)
    t *= lr * correction2 / (1.0 - beta1**step)
    if weight_decay:
        param *= 1.0 - lr * weight_decay
    param -= t
