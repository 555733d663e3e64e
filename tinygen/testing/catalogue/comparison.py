"""Questions with yes or no for an answer."""

from __future__ import annotations

import numpy as np

from tinygen import ops
from tinygen.errors import ShapeError
from tinygen.testing.catalogue import register
from tinygen.testing.catalogue.argument import bad, one, two, zeros
from tinygen.testing.drawing import Call, Draw


def truths(draw: Draw) -> Call:
    """Booleans, or numbers that count as true unless they are 0."""
    call = two(numbers=False)(draw)
    return Call(*(np.asarray(a > 0) for a in call.arrays)) if draw.boolean() else call


for f, truth in (
    (ops.equal, np.equal),
    (ops.not_equal, np.not_equal),
    (ops.less, np.less),
    (ops.less_equal, np.less_equal),
    (ops.greater, np.greater),
    (ops.greater_equal, np.greater_equal),
    (ops.logical_and, np.logical_and),
    (ops.logical_or, np.logical_or),
    (ops.logical_xor, np.logical_xor),
):
    register(
        f,
        args=truths if f.__name__.startswith("logical") else two(),
        truth=truth,
        differentiable=False,
        exact_on_ints=True,
        bad=(bad("shapes", ShapeError, lambda f=f: f(zeros(2), zeros(3))),),
    )


register(
    ops.logical_not, args=one(), truth=np.logical_not, differentiable=False, exact_on_ints=True
)
for f, truth in ((ops.isnan, np.isnan), (ops.isinf, np.isinf), (ops.isfinite, np.isfinite)):
    register(f, args=one(), truth=truth, differentiable=False, regimes=("special",))
