"""zeros, ones, full, arange, linspace, eye, and the `_like` forms."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen import ops
from tinygen.errors import DtypeError, OutOfRangeError, ShapeError, UsageError
from tinygen.testing.catalogue import register
from tinygen.testing.catalogue.argument import bad, one, zeros
from tinygen.testing.drawing import Call, Draw

DTYPES = ("float32", "float64", "int64")
CONSTANT: dict[str, Any] = {"differentiable": False, "takes_arrays": False, "own_dtype": True}
WITHOUT_ARRAYS = {"special_values": "takes no array", "exact_integers": "takes no array"}


def shaped(draw: Draw) -> Call:
    return Call(shape=draw.shape(), dtype=draw.choice(DTYPES))


for name in ("zeros", "ones"):
    f = getattr(ops, name)
    register(
        f,
        args=shaped,
        truth=getattr(np, name),
        exempt=WITHOUT_ARRAYS,
        bad=(
            bad("negative length", ShapeError, lambda f=f: f((2, -1))),
            bad("no dtype", DtypeError, lambda f=f: f(2, dtype="float33")),
            bad("complex", DtypeError, lambda f=f: f(2, dtype="complex64")),
        ),
        **CONSTANT,
    )

register(
    ops.full,
    args=lambda draw: Call(
        shape=draw.shape(), fill_value=draw.integer(-9, 9), dtype=draw.choice(DTYPES)
    ),
    truth=np.full,
    exempt=WITHOUT_ARRAYS,
    bad=(
        bad("negative length", ShapeError, lambda: ops.full(-1, 0)),
        bad("too large", OutOfRangeError, lambda: ops.full(2, 2**40, dtype="int32")),
        bad("text", DtypeError, lambda: ops.full(2, "many")),
    ),
    **CONSTANT,
)


def ranged(draw: Draw) -> Call:
    start, steps, step = draw.integer(-9, 9), draw.side(), draw.choice((1, 2, -1, -3))
    return Call(start=start, stop=start + steps * step, step=step, dtype=draw.choice(DTYPES))


register(
    ops.arange,
    args=ranged,
    truth=lambda start, stop, step, dtype: np.arange(start, stop, step).astype(dtype),
    exempt=WITHOUT_ARRAYS,
    bad=(bad("a step of 0", UsageError, lambda: ops.arange(0, 3, 0)),),
    **CONSTANT,
)

register(
    ops.linspace,
    args=lambda draw: Call(
        start=draw.integer(-3, 3),
        stop=draw.integer(-3, 9),
        num=draw.side(),
        dtype=draw.choice(("float32", "float64")),
        endpoint=draw.boolean(),
    ),
    truth=lambda start, stop, num, dtype, endpoint: np.array(
        [start + (stop - start) * i / max(num - endpoint, 1) for i in range(num)]
    ).astype(dtype),
    bound=lambda truth, call: [lambda u, y: 16 * u],
    exempt=WITHOUT_ARRAYS,
    bad=(bad("negative length", ShapeError, lambda: ops.linspace(0, 1, -2)),),
    **CONSTANT,
)

register(
    ops.eye,
    args=lambda draw: Call(
        n_rows=draw.side(), n_cols=draw.side(), k=draw.integer(-3, 3), dtype=draw.choice(DTYPES)
    ),
    truth=lambda n_rows, n_cols, k, dtype: np.eye(n_rows, n_cols, k, dtype),
    exempt=WITHOUT_ARRAYS,
    bad=(bad("negative length", ShapeError, lambda: ops.eye(-1)),),
    **CONSTANT,
)

for name in ("zeros_like", "ones_like"):
    f = getattr(ops, name)
    register(
        f,
        args=one(),
        truth=getattr(np, name),
        differentiable=False,
        exact_on_ints=True,
        bad=(bad("no dtype", DtypeError, lambda f=f: f(zeros(2), dtype="x")),),
    )

register(
    ops.full_like,
    args=lambda draw: Call(draw.array(draw.shape()), fill_value=draw.integer(-9, 9)),
    truth=np.full_like,
    differentiable=False,
    exact_on_ints=True,
    bad=(
        bad("too large", OutOfRangeError, lambda: ops.full_like(np.zeros(2, "int8"), 1000)),
        bad("text", DtypeError, lambda: ops.full_like(zeros(2), object())),
    ),
)
