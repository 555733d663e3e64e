"""ReLU, GELU and SiLU in cache-sized blocks, each with its derivative from the same intermediate
values.

    relu       h = max(u, 0)                            dh = 1 where u > 0, else 0
    silu       h = u s,      s = 1/(1 + exp(-u))        dh = s + h (1 - s)
    gelu_tanh  h = u s,      s = 1/(1 + exp(-2 v))      dh = s + h (1 - s) 2 dv/du
                             v = sqrt(2/pi) (u + 0.044715 u^3)
    gelu       h = u Phi(u), Phi the normal cdf         dh = Phi(u) + u phi(u)

(Hendrycks and Gimpel 2016, arXiv:1606.08415; 0.5 (1 + tanh v) is the sigmoid of 2 v, which keeps
its relative accuracy for negative u.) The derivative is kept instead of u: backward is one product.

A block runs without any test of its values. Only when the processor reports an overflow or a NaN,
that is for huge or infinite u, the block is done again with u clipped; beyond, h has long reached
its limit: u above, and below the tail u exp(...), still a normal number for a while, and then 0.
"""

from collections.abc import Callable
from math import pi, sqrt

import numpy as np

from tinygen.backend.numpy_backend.aligned import empty
from tinygen.backend.numpy_backend.array import Array
from tinygen.backend.numpy_backend.special import horner

BLOCK = 32768
"""Elements of a block: u, h, dh and three scratch blocks of float32 take 0.8 MB."""

_V_LINEAR = sqrt(2.0 / pi)
_V_CUBIC = 0.044715 * _V_LINEAR
_PHI_AT_ZERO = 1.0 / sqrt(2.0 * pi)

# Phi(-a) exp(a^2/2) = N(a)/D(a) for a >= 0, relative errors 7e-9 (to a = 14) and 4e-18 (to a = 40):
# our own rational interpolation at Chebyshev nodes of (a - k)/(a + k), in 70-digit arithmetic,
# lowest power first. Every coefficient is positive, so nothing cancels.
_MILLS32 = (
    (
        0.5000000018658018,
        0.4364557850998665,
        0.18182845967471523,
        0.04014623724638465,
        0.004040424259253225,
    ),
    (
        1.0,
        1.670796427211471,
        1.1967559294579577,
        0.4657462394607835,
        0.10063858638365455,
        0.010127711632123405,
    ),
)
_MILLS64 = (
    (
        0.5,
        0.8397238516497012,
        0.6982727602091924,
        0.37192452783763086,
        0.13928366284975416,
        0.03816139660020786,
        0.007739168579230838,
        0.001149051027146752,
        0.00012005960001504813,
        8.035499103095841e-06,
        2.653253973520101e-07,
    ),
    (
        1.0,
        2.4773322641022686,
        2.873170685924359,
        2.063602974742614,
        1.0223739910768512,
        0.36793634334707037,
        0.09849639564512642,
        0.019698833422242146,
        0.002900385802982901,
        0.00030160986018029965,
        2.0142009252603252e-05,
        6.650721429802096e-07,
    ),
)


def activation_forward(
    u: Array,
    name: str,
    *,
    with_derivative: bool = True,
    out: Array | None = None,
    overwrite: bool = False,
) -> tuple[Array, Array | None]:
    """(h, dh/du), or (h, None), for a float array u of any shape.

    `name` is "relu", "silu", "gelu" or "gelu_tanh". h goes to `out`, over u if `overwrite`, else to
    a fresh array.
    """
    if overwrite:
        out = u
    h = out if out is not None and out.flags.c_contiguous else empty(u.shape, u.dtype)
    dh = empty(u.shape, u.dtype) if with_derivative else None

    source, target = u.reshape(-1), h.reshape(-1)
    slope = None if dh is None else dh.reshape(-1)
    apply = activation_of_blocks(name, u.dtype, min(BLOCK, source.size))
    result = empty((min(BLOCK, source.size),), u.dtype) if h is u else None
    for start in range(0, source.size, BLOCK):
        x, y = (a[start : start + BLOCK] for a in (source, target))
        d = None if slope is None else slope[start : start + BLOCK]
        if result is None:
            apply(x, y, d)
        else:  # a kernel must not overwrite what it reads
            apply(x, result[: x.size], d)
            y[...] = result[: x.size]
    if out is not None and out is not h:
        out[...] = h
        h = out
    return h, dh


def leaky_relu(x: Array, slope: float) -> Array:
    """x where x > 0, else slope x."""
    outer = np.maximum if slope <= 1 else np.minimum
    if not slope:  # 0 * inf would be NaN
        return outer(x, 0)
    y = empty(x.shape, x.dtype)
    source, target = x.reshape(-1), y.reshape(-1)
    for start in range(0, source.size, BLOCK):
        xs, ys = source[start : start + BLOCK], target[start : start + BLOCK]
        outer(xs, np.multiply(xs, slope, out=ys), out=ys)
    return y


def leak(x: Array, above: Array, slope: float) -> Array:
    """x where `above`, booleans of its shape, else slope x."""
    y, below = empty(x.shape, x.dtype), x.dtype.type(slope)
    source, mask, target = x.reshape(-1), above.reshape(-1), y.reshape(-1)
    for start in range(0, source.size, BLOCK):
        part = slice(start, start + BLOCK)
        if 0 <= slope <= 1:  # max(1, slope) and max(0, slope): no branch
            factor = np.maximum(mask[part], below, out=target[part])
        else:
            factor = np.where(mask[part], x.dtype.type(1), below)
        np.multiply(source[part], factor, out=target[part])
    return y


def activation_of_blocks(
    name: str, dtype: np.dtype[np.generic], block: int
) -> Callable[[Array, Array, Array | None], None]:
    """apply(x, y, d), which writes act(x) into y and, unless d is None, its derivative into d:
    contiguous vectors of up to `block` elements, none of which overlaps another."""
    kernel, tail, limits = _KERNELS[name]
    limit = limits[dtype == np.float64]
    scratch = empty((2, block), dtype)

    def apply(x: Array, y: Array, d: Array | None) -> None:
        s, t = scratch[0, : x.size], scratch[1, : x.size]
        with np.errstate(over="raise", invalid="raise", under="ignore"):
            try:
                kernel(x, y, d, s, t)
            except FloatingPointError:
                _with_limits(kernel, tail, limit, x, y, d, s, t)

    return apply


def gelu_forward(
    u: Array, approximate: str = "none", with_derivative: bool = True
) -> tuple[Array, Array | None]:
    """(gelu(u), its derivative or None); `approximate` is "none" (by erf) or "tanh"."""
    name = "gelu_tanh" if approximate == "tanh" else "gelu"
    return activation_forward(u, name, with_derivative=with_derivative)


def silu_forward(u: Array, with_derivative: bool = True) -> tuple[Array, Array | None]:
    """(u sigmoid(u), its derivative or None)."""
    return activation_forward(u, "silu", with_derivative=with_derivative)


def relu_forward(u: Array, with_derivative: bool = True) -> tuple[Array, Array | None]:
    """(max(u, 0), its derivative or None); the derivative at 0 is 0."""
    return activation_forward(u, "relu", with_derivative=with_derivative)


# A kernel reads x and writes h into y and, unless d is None, dh into d; s and t are scratch. All
# are vectors of one block, and none overlaps another.
Kernel = Callable[[Array, Array, Array | None, Array, Array], None]

# A tail gives (h, dh) of its vector.
Tail = Callable[[Array], tuple[Array, Array]]


def _relu(x: Array, y: Array, d: Array | None, s: Array, t: Array) -> None:
    np.maximum(x, 0.0, out=y)
    if d is not None:
        np.greater(x, 0.0, out=d)


def _silu(x: Array, y: Array, d: Array | None, s: Array, t: Array) -> None:
    np.exp(x, out=s)
    np.add(s, 1.0, out=t)
    np.reciprocal(t, out=t)  # 1 - sigmoid
    s *= t  # sigmoid
    np.multiply(x, s, out=y)
    if d is not None:
        np.multiply(y, t, out=d)
        d += s


def _gelu_tanh(x: Array, y: Array, d: Array | None, s: Array, t: Array) -> None:
    square = y if d is None else d
    np.multiply(x, x, out=square)
    np.multiply(square, -2.0 * _V_CUBIC, out=t)
    t -= 2.0 * _V_LINEAR
    t *= x  # -2 v
    _sigmoid(t, s)
    np.multiply(x, s, out=y)
    if d is not None:
        t *= s  # 1 - s
        t *= y
        d *= 6.0 * _V_CUBIC
        d += 2.0 * _V_LINEAR  # 2 dv/du
        d *= t
        d += s


def _gelu(x: Array, y: Array, d: Array | None, s: Array, t: Array) -> None:
    numerator, denominator = _MILLS64 if x.dtype == np.float64 else _MILLS32
    np.absolute(x, out=t)
    horner(numerator, t, out=s)
    s /= horner(denominator, t, out=y)
    np.multiply(x, x, out=t)
    t *= -0.5
    np.exp(t, out=t)
    s *= t  # Phi(-|x|)
    np.greater(x, 0.0, out=y)
    s -= y
    np.absolute(s, out=s)  # Phi(x), each tail from its own small number
    np.multiply(x, s, out=y)
    if d is not None:
        np.multiply(x, t, out=d)
        d *= _PHI_AT_ZERO
        d += s


def _sigmoid(t: Array, s: Array) -> None:
    """s = 1/(1 + exp(t)) and t = exp(t), in place."""
    np.exp(t, out=t)
    np.add(t, 1.0, out=s)
    np.reciprocal(s, out=s)


def _silu_tail(x: Array) -> tuple[Array, Array]:
    """h and dh for u far below 0, where 1/(1 + exp(-u)) is exp(u)."""
    s = np.exp(x)
    return x * s, (1.0 + x) * s


def _gelu_tanh_tail(x: Array) -> tuple[Array, Array]:
    square = x * x
    s = np.exp(x * (2.0 * _V_LINEAR + 2.0 * _V_CUBIC * square))  # exp(2 v)
    return x * s, s * (1.0 + x * (2.0 * _V_LINEAR + 6.0 * _V_CUBIC * square))


def _no_tail(x: Array) -> tuple[Array, Array]:
    return x * 0.0, x * 0.0


def _with_limits(
    kernel: Kernel,
    tail: Tail,
    limit: float,
    x: Array,
    y: Array,
    d: Array | None,
    s: Array,
    t: Array,
) -> None:
    """The kernel within +-limit; above it h = u, and below it the tail."""
    kernel(np.clip(x, -limit, limit), y, d, s, t)
    above, below = np.flatnonzero(x > limit), np.flatnonzero(x < -limit)
    y[above] = x[above]
    y[below], slope = tail(np.maximum(x[below], -2000.0))  # where all tails are 0
    if d is not None:
        d[above], d[below] = 1.0, slope


# The tail below the limits (float32, float64), within which the kernel does not overflow.
_KERNELS: dict[str, tuple[Kernel, Tail, tuple[float, float]]] = {
    "relu": (_relu, _no_tail, (1.0, 1.0)),
    "silu": (_silu, _silu_tail, (88.0, 708.0)),
    "gelu": (_gelu, _no_tail, (14.0, 38.0)),
    "gelu_tanh": (_gelu_tanh, _gelu_tanh_tail, (10.0, 21.0)),
}
