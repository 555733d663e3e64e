"""One AdamW update of one cache-sized slice (Loshchilov and Hutter 2019, algorithm 2, as PyTorch
has it)."""

from math import sqrt

import numpy as np

from tinygen.backend.numpy_backend.array import Array

FLUSH_EVERY = 16
"""Steps between two looks for moments that are nearly subnormal."""


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
    of the paper, and are moved out of the quotient (`rate_and_damping`), so that they cost no pass
    over the memory.
    """
    t = scratch[: param.size]
    if step % FLUSH_EVERY == 0:
        _flush(m, t)
        _flush(v, t)
    rate, damping = rate_and_damping(lr, beta1, beta2, eps, step)

    m *= beta1
    m += grad

    np.multiply(grad, grad, out=t)
    v *= beta2
    v += t

    np.sqrt(v, out=t)
    t += damping
    np.divide(m, t, out=t)
    t *= rate
    if weight_decay:
        param *= 1.0 - lr * weight_decay
    param -= t


def rate_and_damping(
    lr: float, beta1: float, beta2: float, eps: float, step: int
) -> tuple[float, float]:
    """(rate, damping): lr c1 m / (sqrt(c2 v) + eps) = rate m / (sqrt(v) + damping)."""
    scale1 = (1.0 - beta1) / (1.0 - beta1**step)
    scale2 = sqrt((1.0 - beta2) / (1.0 - beta2**step))
    return lr * scale1 / scale2, eps / scale2


def _flush(moment: Array, scratch: Array) -> None:
    """Zero where |moment| is within 2^27 of the subnormal numbers, in place.

    The moment of a parameter whose gradient is always 0 (of a ReLU that never opens) shrinks until
    rounding holds it at a few times the smallest subnormal number; a processor takes many times as
    long for a product of such numbers, in every step from then on.
    """
    limit = np.finfo(moment.dtype).tiny * 2.0**27
    np.absolute(moment, out=scratch)
    np.greater_equal(scratch, limit, out=scratch)
    moment *= scratch
