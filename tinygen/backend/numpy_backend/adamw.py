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

            m <- beta1 m + g
        v <- beta2 v + g^2
        param <- (1 - lr weight_decay) param - lr c1 m / (sqrt(c2 v) + eps)

    with c = (1 - beta)/(1 - beta^t) and t = `step`, which starts at 1.

    The moments are sums, not means: c1 and c2 are scalars that make them the bias-corrected means
    of the paper, and are moved out of the quotient, so that they cost no pass over the memory.
    """
    t = scratch[: param.size]
    scale1 = (1.0 - beta1) / (1.0 - beta1**step)
    scale2 = sqrt((1.0 - beta2) / (1.0 - beta2**step))

    m *= beta1
    m += grad

    np.multiply(grad, grad, out=t)
    v *= beta2
    v += t

    np.sqrt(v, out=t)
    t += eps / scale2
    np.divide(m, t, out=t)
    t *= lr * scale1 / scale2
    if weight_decay:
        param *= 1.0 - lr * weight_decay
    param -= t
