"""erf and erfc, vectorised: a few short polynomials in cache-sized blocks, no table and no library.

    erf(x)  = x + x R(x^2)                                          |x| < 1
    erfc(a) = exp(L(t) - a^2) / (1 + 2a),   t = (a - 2)/(a + 2)     a >= 1
    erf(x)  = tanh(x + x N(x^2)/D(x^2))                             float32

and the other parts of the line follow from erf(-x) = -erf(x) and erfc(x) = 1 - erf(x). The tail is
the function of Shepherd and Laframboise, "Chebyshev approximation of (1 + 2x) exp(x^2) erfc x",
Math. Comp. 36 (1981): smooth from 1 to the underflow; we take its logarithm, so that only one
exponential rounds. The coefficients are our own, lowest power first: R and L interpolate at
Chebyshev nodes in 70-digit arithmetic (errors 7e-18 and 2e-17); N/D is a weighted minimax fit
(3e-9).

Measured against 70-digit values: erf within 1.6 ulp, erfc within 3 ulp down to the underflow.
"""

from collections.abc import Callable

import numpy as np

from tinygen.backend.numpy_backend.array import Array

BLOCK = 32768
"""Elements of a block: its scratch arrays stay in a second-level cache of 1-2 MB."""

_CENTRE = (  # R(s), 0 <= s <= 1
    0.12837916709551256,
    -0.37612638903183543,
    0.11283791670945006,
    -0.02686617064323777,
    0.0052239776071164225,
    -0.0008548325975389692,
    0.00012055294904839707,
    -1.492473690741966e-05,
    1.6447424703317362e-06,
    -1.6208483801871705e-07,
    1.3720064546777686e-08,
    -7.795898827002142e-10,
)
_TAIL = (  # L(t), the logarithm of (1 + 2a) exp(a^2) erfc(a), 1 <= a <= 28
    0.2444966478174628,
    -0.07264322397765716,
    -0.13265669315809797,
    0.11889561023127569,
    -0.04227268936617007,
    0.00672706143559077,
    -0.006017066445058715,
    0.006344898461686033,
    -0.00224576709509527,
    0.000446060976007452,
    -0.0006983878915824364,
    0.0005041528274917575,
    -0.00011012259958987184,
    6.86632320467034e-05,
    -8.540261888030324e-05,
    3.0369120855327143e-05,
    -1.0365517091970974e-05,
    1.6809111985167746e-05,
    -9.983312381048157e-06,
    1.4606755570828597e-06,
    2.0573477206306761e-07,
)
_TANH_NUMERATOR = (  # N(s), 0 <= s <= 4.2^2: every coefficient positive, so nothing cancels
    0.12837917085459036,
    0.12291424621364484,
    0.01895662126119281,
    0.0018533526670205683,
)
_TANH_DENOMINATOR = (1.0, 0.15689254158802496, 0.023689882832749518, 0.00032492310305556703)

_UNDERFLOW = 28.0  # erfc(28) = 6e-343 is zero in float64
_SATURATED = 4.2  # erf(4.2) is one in float32


def erf(x: Array) -> Array:
    """erf(x) = 2/sqrt(pi) integral of exp(-s^2) for s from 0 to x, of every element of a float
    array."""
    return _blocked(_erf32 if x.dtype == np.float32 else _erf64, x)


def erfc(x: Array) -> Array:
    """erfc(x) = 1 - erf(x), with full relative accuracy where it is tiny."""
    return _blocked(_erfc64, x)


def horner(coefficients: tuple[float, ...], t: Array, out: Array | None = None) -> Array:
    """c0 + c1 t + c2 t^2 + ..., at least two coefficients; `out` is not `t`."""
    value = np.multiply(t, coefficients[-1], out=out)
    for coefficient in coefficients[-2:0:-1]:
        value += coefficient
        value *= t
    value += coefficients[0]
    return value


def _blocked(function: Callable[[Array], Array], x: Array) -> Array:
    result = np.empty(x.shape, x.dtype)
    source, target = x.reshape(-1), result.reshape(-1)
    with np.errstate(under="ignore"):
        for start in range(0, source.size, BLOCK):
            block = slice(start, start + BLOCK)
            target[block] = function(source[block])
    return result


def _erf32(x: Array) -> Array:
    """One formula for the whole line; only the tanh needs more than float32 to stay below 2 ulp."""
    x = np.clip(x, -_SATURATED, _SATURATED)
    square = x * x
    w = horner(_TANH_NUMERATOR, square)
    w /= horner(_TANH_DENOMINATOR, square, out=np.empty_like(square))
    w *= x
    w += x
    wide = w.astype(np.float64)
    return np.tanh(wide, out=wide)


def _erf64(x: Array) -> Array:
    near = np.abs(x) < 1.0
    inner, outer = (
        np.flatnonzero(near),
        np.flatnonzero(~near),
    )  # NaN goes to the tail, and stays NaN
    result = np.empty_like(x)
    centre, far = x[inner], x[outer]
    result[inner] = centre + _correction(centre)
    result[outer] = np.copysign(1.0 - _tail(np.abs(far)), far)
    return result


def _erfc64(x: Array) -> Array:
    """1 - erf(x) near the origin, written from 1/4 on as 1/2 - ((x - 1/2) + x R), where x - 1/2 is
    exact: the difference then loses nothing."""
    x = x.astype(np.float64, copy=False)
    near = np.abs(x) < 1.0
    inner, outer = np.flatnonzero(near), np.flatnonzero(~near)
    result = np.empty_like(x)
    centre, far = x[inner], x[outer]
    pivot = np.where(centre < 0.25, 1.0, 0.5)
    result[inner] = pivot - ((centre - (1.0 - pivot)) + _correction(centre))
    tail = _tail(np.abs(far))
    result[outer] = np.where(far < 0.0, 2.0 - tail, tail)
    return result


def _correction(x: Array) -> Array:
    """erf(x) - x for |x| < 1: small, so that adding it to x rounds once."""
    value = horner(_CENTRE, x * x)
    value *= x
    return value


def _tail(a: Array) -> Array:
    """erfc(a) for a >= 1, NaN for NaN.

    The exponent L - a^2 is kept as the sum of two floats, high + low: a^2 = s^2 + (a - s)(a + s)
    with `s` the float32 nearest to `a`, whose square is exact. Then exp(high + low) = exp(high)(1 +
    low).
    """
    a = np.minimum(a, _UNDERFLOW)
    t = a - 2.0
    t /= a + 2.0
    rest = horner(_TAIL, t)
    s = a.astype(np.float32).astype(np.float64)
    rest += (s - a) * (s + a)
    minus_square = -s * s
    high = minus_square + rest
    low = minus_square - high
    low += rest
    value = np.exp(high)
    low *= value
    value += low
    value /= 1.0 + 2.0 * a
    return value
