"""linear, softmax, the norms of features, and dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen import ops
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.random import Generator
from tinygen.testing.bounds import conditioned
from tinygen.testing.catalogue import register
from tinygen.testing.catalogue.activations import gelu, sigmoid
from tinygen.testing.catalogue.argument import bad, mask, zeros
from tinygen.testing.drawing import REAL, Call, Domain, Draw

COMPOSED = conditioned(16, of_largest=4)
"""Some roundings, seen through the condition of what follows; elements of one row share them."""

MODERATE = Domain(-3.0, 3.0, wide=(-30.0, 30.0))


def mixed(f: Any, *shapes: tuple[int, ...]) -> Any:
    """A call with two floating dtypes, which fused ops refuse."""
    first, *rest = shapes
    return bad(
        "two dtypes",
        DtypeError,
        lambda: f(np.zeros(first, np.float32), *(zeros(*shape) for shape in rest)),
    )


# ---- linear --------------------------------------------------------------------------------------

ACTIVATIONS: dict[str | None, Any] = {
    None: lambda y: y,
    "relu": lambda y: np.maximum(y, 0),
    "gelu": gelu,
    "gelu_tanh": lambda y: gelu(y, "tanh"),
    "silu": lambda y: y * sigmoid(y),
}


def linear_args(draw: Draw) -> Call:
    k, n = draw.side(), draw.side()
    lead = draw.shape(0, 2)
    activation = draw.choice((None, "relu", "gelu", "gelu_tanh", "silu"))
    if draw.regime == "integers":
        activation = draw.choice((None, "relu"))
    bias = draw.array((n,), MODERATE) if draw.boolean() else None
    x, weight = draw.array((*lead, k), MODERATE), draw.array((n, k), MODERATE)
    return Call(x, weight, bias, activation=activation)


def linear(x: Any, weight: Any, bias: Any, activation: str | None) -> Any:
    y = np.matmul(x, weight.T)
    return ACTIVATIONS[activation](y if bias is None else y + bias)


register(
    ops.linear,
    args=linear_args,
    truth=linear,
    bound=conditioned(32, of_largest=4),
    exact_on_ints=True,
    fused=True,
    special=False,
    bad=(
        bad("features", ShapeError, lambda: ops.linear(zeros(2, 3), zeros(4, 2))),
        bad(
            "a bias of another size",
            ShapeError,
            lambda: ops.linear(zeros(3), zeros(4, 3), zeros(3)),
        ),
        bad("no axes", ShapeError, lambda: ops.linear(zeros(), zeros(4, 3))),
        bad(
            "an unknown activation",
            UsageError,
            lambda: ops.linear(zeros(3), zeros(4, 3), activation="step"),
        ),
        bad("integers", DtypeError, lambda: ops.linear(np.arange(3), zeros(4, 3))),
        mixed(ops.linear, (3,), (4, 3)),
    ),
)


# ---- softmax -------------------------------------------------------------------------------------


def softmax_args(draw: Draw) -> Call:
    shape = draw.shape(1)
    axis = draw.axis(shape)
    return Call(draw.array(draw.competing(shape, axis)), axis=axis)


def softmax(x: Any, axis: int = -1) -> Any:
    weights = np.exp(x - x.max(axis, keepdims=True))
    return weights / weights.sum(axis, keepdims=True)


def log_softmax(x: Any, axis: int = -1) -> Any:
    return x - np.logaddexp.reduce(x, axis=axis, keepdims=True)


for f, truth, rounding in (
    (ops.softmax, softmax, {}),
    (ops.log_softmax, log_softmax, {"absolute": 16.0, "of_inputs": 2.0}),
):
    register(
        f,
        args=softmax_args,
        truth=truth,
        bound=conditioned(16, **rounding),
        fused=True,
        bad=(
            bad("no such axis", ShapeError, lambda f=f: f(zeros(2), axis=1)),
            bad("no axes", ShapeError, lambda f=f: f(zeros())),
            bad("integers", DtypeError, lambda f=f: f(np.arange(3))),
        ),
    )


# ---- norms ---------------------------------------------------------------------------------------


def norm_args(draw: Draw, affine: int) -> Call:
    shape = (*draw.shape(0, 2), draw.choice((3, 5, 4, 7)))
    if draw.regime != "smooth":  # where derivatives vanish but for eps
        shape = (*shape[:-1], draw.choice((2, 1)))
    given = draw.integer(0, affine)
    parts = [draw.array(shape[-1:]) if i < given else None for i in range(affine)]
    return Call(draw.array(shape, MODERATE), *parts, eps=draw.choice((1e-5, 1e-2)))


def layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    n = x.shape[-1]
    centred = x - x.sum(-1, keepdims=True) / n
    y = centred / np.sqrt((centred**2).sum(-1, keepdims=True) / n + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(x: Any, weight: Any, eps: float) -> Any:
    y = x / np.sqrt((x**2).sum(-1, keepdims=True) / x.shape[-1] + eps)
    return y if weight is None else y * weight


def eps_only(f: Any, shape: tuple[int, ...]) -> Any:
    return bad("a weight of another size", ShapeError, lambda: f(zeros(*shape), zeros(2)))


register(
    ops.layer_norm,
    args=lambda draw: norm_args(draw, 2),
    truth=layer_norm,
    bound=COMPOSED,
    fused=True,
    special=False,
    bad=(
        eps_only(ops.layer_norm, (2, 3)),
        bad("no axes", ShapeError, lambda: ops.layer_norm(zeros())),
        mixed(ops.layer_norm, (2, 3), (3,)),
    ),
)
register(
    ops.rms_norm,
    args=lambda draw: norm_args(draw, 1),
    truth=rms_norm,
    bound=COMPOSED,
    fused=True,
    special=False,
    bad=(
        eps_only(ops.rms_norm, (2, 3)),
        bad("no axes", ShapeError, lambda: ops.rms_norm(zeros())),
        mixed(ops.rms_norm, (2, 3), (3,)),
    ),
)


def add_norm_args(draw: Draw, affine: int) -> Call:
    x, *parts = (call := norm_args(draw, affine)).arrays
    return Call(x, draw.array(x.shape, MODERATE), *parts, **call.params)


for f, plain, parts in ((ops.add_layer_norm, layer_norm, 2), (ops.add_rms_norm, rms_norm, 1)):
    register(
        f,
        args=lambda draw, parts=parts: add_norm_args(draw, parts),
        truth=lambda x, residual, *rest, plain=plain, **eps: (
            plain(x + residual, *rest, **eps),
            x + residual,
        ),
        bound=COMPOSED,
        fused=True,
        special=False,
        bad=(
            bad(
                "a weight of another size",
                ShapeError,
                lambda f=f: f(zeros(2, 3), zeros(2, 3), zeros(2)),
            ),
            bad("another residual", ShapeError, lambda f=f: f(zeros(2, 3), zeros(3))),
            bad("no axes", ShapeError, lambda f=f: f(zeros(), zeros())),
            mixed(f, (2, 3), (2, 3)),
        ),
    )


# ---- dropout -------------------------------------------------------------------------------------


def dropout_args(draw: Draw) -> Call:
    """With the mask itself, or with a generator."""
    shape = draw.shape()
    p = draw.choice((0.25, 0.5, 0.0, 0.9))
    kept = mask(draw, shape) if draw.boolean() else None
    seed = None if kept is not None else draw.integer(0, 9)
    return Call(draw.array(shape, REAL), kept, p=p, seed=seed)


def dropout_op(x: Any, mask: Any, p: float, seed: int | None) -> Any:
    return ops.dropout(x, p, mask=mask, rng=None if seed is None else Generator(seed))


def dropout(x: Any, mask: Any, p: float, seed: int | None) -> Any:
    kept = mask if seed is None else Generator(seed).uniform(x.shape) >= p
    return x * kept / (1 - np.longdouble(p))


register(
    dropout_op,
    name="dropout",
    args=dropout_args,
    truth=dropout,
    bound=conditioned(4),
    linear=True,
    special=False,
    bad=(
        bad("p of 1", UsageError, lambda: ops.dropout(zeros(2), 1.0, rng=Generator(0))),
        bad("no generator", UsageError, lambda: ops.dropout(zeros(2), 0.5)),
        bad(
            "a mask of another shape",
            ShapeError,
            lambda: ops.dropout(zeros(2), 0.5, mask=np.ones(3, bool)),
        ),
    ),
)
