"""The error function and the activations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.testing.bounds import conditioned, each, ulp
from tinygen.testing.catalogue import register
from tinygen.testing.catalogue.argument import bad, on_float64, one, zeros
from tinygen.testing.drawing import NONZERO, Call, Domain, Draw

LIBRARY = each(ulp(8))
COMPOSED = conditioned(8)
"""A few roundings, each of them seen through the condition of what follows."""

ABOVE_SUBNORMAL = Domain(-3.0, 3.0, wide=(-80.0, 2.0**20))
"""Where e^x is a normal float32, which keeps all its digits."""


def normal_distribution(x: Any) -> Any:
    return 0.5 * on_float64(math.erfc)(-x / math.sqrt(2))


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def gelu(x: Any, approximate: str = "none") -> Any:
    if approximate == "none":
        return x * normal_distribution(x)
    u = np.sqrt(2 / np.longdouble(math.pi)) * (x + np.longdouble("0.044715") * x * x * x)
    return x * sigmoid(2 * u)  # (1 + tanh u) / 2, without its cancellation


def limited(f: Callable[..., Any]) -> Callable[..., Any]:
    """`f`, and at -inf its limit 0, where the formula multiplies infinity by zero."""

    def truth(x: Any, *rest: Any, **params: Any) -> Any:
        finite = np.where(x == -np.inf, 0, x)
        return np.where(x == -np.inf, 0, f(finite, *rest, **params))

    return truth


def integers(f: Any) -> tuple[Any, ...]:
    return (bad("integers", DtypeError, lambda: f(np.arange(3))),)


register(ops.tanh, args=one(), truth=np.tanh, bound=LIBRARY)
register(ops.erf, args=one(), truth=on_float64(math.erf), bound=LIBRARY, bad=integers(ops.erf))
register(ops.erfc, args=one(), truth=on_float64(math.erfc), bound=COMPOSED, bad=integers(ops.erfc))
register(ops.sigmoid, args=one(), truth=sigmoid, bound=COMPOSED)
register(ops.softplus, args=one(), truth=lambda x: np.logaddexp(x, 0), bound=COMPOSED)
register(ops.log_sigmoid, args=one(), truth=lambda x: -np.logaddexp(-x, 0), bound=COMPOSED)
register(
    ops.relu, args=one(NONZERO), truth=lambda x: np.maximum(x, 0), exact_on_ints=True, kinks=True
)


def leaky_args(draw: Draw) -> Call:
    return Call(draw.array(draw.shape(), NONZERO), draw.choice((0.01, 0.5, 0.0, 1.0, 2.0)))


register(
    ops.leaky_relu,
    args=leaky_args,
    truth=lambda x, slope: np.where(x > 0, x, slope * x) if slope else np.maximum(x, 0),
    bound=each(ulp(2)),
    kinks=True,
    bad=(bad("an infinite slope", UsageError, lambda: ops.leaky_relu(zeros(2), math.inf)),),
)
register(
    ops.silu,
    args=one(ABOVE_SUBNORMAL),
    truth=limited(lambda x: x * sigmoid(x)),
    bound=COMPOSED,
    fused=True,
)


def swiglu_args(draw: Draw) -> Call:
    shape = draw.shape()
    return Call(draw.array(shape, ABOVE_SUBNORMAL), draw.array(shape))


register(
    ops.swiglu,
    args=swiglu_args,
    truth=lambda gate, up: limited(lambda x: x * sigmoid(x))(gate) * up,
    bound=COMPOSED,
    fused=True,
    bad=(
        bad("two shapes", ShapeError, lambda: ops.swiglu(zeros(2, 3), zeros(3))),
        bad("integers", DtypeError, lambda: ops.swiglu(np.arange(3), np.arange(3))),
        bad("two dtypes", DtypeError, lambda: ops.swiglu(np.zeros(3, np.float32), zeros(3))),
    ),
)
register(
    ops.gelu,
    args=lambda draw: Call(
        draw.array(draw.shape(), Domain(-3.0, 3.0, wide=(-12.0, 2.0**20))),
        approximate=draw.choice(("none", "tanh")),
    ),
    truth=limited(gelu),
    bound=conditioned(16),
    fused=True,
    bad=(
        *integers(ops.gelu),
        bad("an unknown form", UsageError, lambda: ops.gelu(zeros(2), approximate="sigmoid")),
    ),
)
