"""The norms of images: of a batch, of groups of channels, of an instance."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.testing.bounds import conditioned
from tinygen.testing.catalogue import register
from tinygen.testing.catalogue.argument import bad, zeros
from tinygen.testing.catalogue.fused import ACTIVATIONS, COMPOSED, MODERATE, mixed
from tinygen.testing.drawing import POSITIVE, Call, Draw

# ---- batch norm ----------------------------------------------------------------------------------


def batch_norm_args(draw: Draw) -> Call:
    """Three values a channel or more where derivatives are judged: of two, y is a sign."""
    training = draw.boolean()
    least = 3 if draw.regime == "smooth" else 2
    C = draw.side(most=3)
    shape = draw.choice(
        ((draw.integer(least, 7),), (2, draw.integer(2, 3)), (1, 2, draw.integer(2, 3)))
    )
    if draw.zero_size and not training and draw.boolean():
        shape = (0, *shape[1:])
    weight, bias = (draw.array((C,)) if draw.boolean() else None for _ in range(2))
    mean, var = (draw.array((C,), POSITIVE) for _ in range(2))  # one tensor may be both
    options = {"momentum": draw.choice((0.1, 0.5, 1.0)), "eps": draw.choice((1e-5, 1e-2))}
    return Call(
        draw.array((*shape, C), MODERATE),
        mean,
        var,
        weight,
        bias,
        training=training,
        **options,
    )


def batch_norm(
    x: Any,
    mean: Any,
    var: Any,
    weight: Any,
    bias: Any,
    training: bool,
    momentum: float,
    eps: float,
) -> Any:
    """One channel after another."""
    y = np.empty_like(x)
    new_mean, new_var = mean.copy(), var.copy()
    for c in range(x.shape[-1]):
        values, m, v = x[..., c], mean[c], var[c]
        if training:
            m = values.sum() / values.size
            squares = ((values - m) ** 2).sum()
            v = squares / values.size
            new_mean[c] = (1 - np.longdouble(momentum)) * mean[c] + momentum * m
            new_var[c] = (1 - np.longdouble(momentum)) * var[c] + momentum * squares / (
                values.size - 1
            )
        y[..., c] = (values - m) / np.sqrt(v + eps)
        y[..., c] *= 1 if weight is None else weight[c]
        y[..., c] += 0 if bias is None else bias[c]
    return y, new_mean, new_var


def norm_of(x: Any, mean: Any = None, var: Any = None, **options: Any) -> Any:
    parts = [zeros(3) if part is None else part for part in (mean, var)]
    return lambda: ops.batch_norm(x, *parts, **{"training": True, **options})


register(
    ops.batch_norm,
    args=batch_norm_args,
    truth=batch_norm,
    bound=COMPOSED,
    fused=True,
    special=False,
    bad=(
        bad("one value a channel", ShapeError, norm_of(zeros(1, 3))),
        bad("no values", ShapeError, norm_of(zeros(0, 3))),
        bad("one axis", ShapeError, norm_of(zeros(3))),
        bad("a mean of another size", ShapeError, norm_of(zeros(4, 3), mean=zeros(4))),
        bad("a weight of another size", ShapeError, norm_of(zeros(4, 3), weight=zeros(2))),
        bad(
            "no running variance",
            DtypeError,
            lambda: ops.batch_norm(zeros(4, 3), zeros(3), None, training=False),
        ),
        bad("a momentum of 2", UsageError, norm_of(zeros(4, 3), momentum=2.0)),
        bad("eps below zero", UsageError, norm_of(zeros(4, 3), eps=-1e-5)),
        bad("two dtypes", DtypeError, norm_of(np.zeros((4, 3), np.float32))),
    ),
)


# ---- group norm, instance norm -------------------------------------------------------------------


def group_norm_args(draw: Draw) -> Call:
    groups, positions = draw.choice((1, 2, 3)), draw.choice(((), (3,), (2, 2)))
    width = draw.choice((1, 2, 3)) if positions else 3
    if draw.regime == "smooth" and width * math.prod(positions) < 3:
        width = 3
    activation = draw.choice((None, "silu", "silu", "relu", "gelu", "gelu_tanh"))
    C = groups * width
    if draw.regime == "smooth" and activation == "relu":
        activation = "silu"  # the kink of relu is tested with relu
    weight, bias = (draw.array((C,)) if draw.boolean() else None for _ in range(2))
    x = draw.array((draw.side(most=3), *positions, C), MODERATE)
    return Call(
        x, weight, bias, groups=groups, eps=draw.choice((1e-5, 1e-2)), activation=activation
    )


def group_norm(
    x: Any, weight: Any, bias: Any, groups: int, eps: float, activation: str | None = None
) -> Any:
    """One group of one image after another."""
    y = np.empty_like(x)
    width = x.shape[-1] // groups
    for n, group in np.ndindex(len(x), groups):
        channels = slice(group * width, (group + 1) * width)
        values = x[n, ..., channels]
        centred = values - values.sum() / values.size
        y[n, ..., channels] = centred / np.sqrt((centred**2).sum() / values.size + eps)
    y = y if weight is None else y * weight
    return ACTIVATIONS[activation](y if bias is None else y + bias)


def instance_norm_args(draw: Draw) -> Call:
    positions = draw.choice(((3,), (5,), (2, 2), (1, 3)))
    if draw.regime != "smooth":
        positions = draw.choice((positions, (1,), (2,)))
    C = draw.side(most=3)
    weight, bias = (draw.array((C,)) if draw.boolean() else None for _ in range(2))
    x = draw.array((draw.side(most=3), *positions, C), MODERATE)
    return Call(x, weight, bias, eps=draw.choice((1e-5, 1e-2)))


def instance_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    return group_norm(x, weight, bias, x.shape[-1], eps) if x.shape[-1] else x


def grouped(x: Any, groups: Any, **options: Any) -> Any:
    return lambda: ops.group_norm(x, groups, **options)


register(
    lambda x, weight, bias, groups, **options: ops.group_norm(x, groups, weight, bias, **options),
    name="group_norm",
    args=group_norm_args,
    truth=group_norm,
    bound=conditioned(32, of_largest=8),
    fused=True,
    special=False,
    bad=(
        bad("groups that do not divide", ShapeError, grouped(zeros(2, 4), 3)),
        bad("no groups", UsageError, grouped(zeros(2, 4), 0)),
        bad("half a group", UsageError, grouped(zeros(2, 4), 0.5)),
        bad("one axis", ShapeError, grouped(zeros(4), 2)),
        bad("a weight of another size", ShapeError, grouped(zeros(2, 4), 2, weight=zeros(3))),
        bad("an unknown activation", UsageError, grouped(zeros(2, 4), 2, activation="step")),
        bad("eps below zero", UsageError, grouped(zeros(2, 4), 2, eps=-1.0)),
        bad(
            "two dtypes",
            DtypeError,
            lambda: ops.group_norm(np.zeros((2, 4), np.float32), 2, zeros(4)),
        ),
    ),
)
register(
    ops.instance_norm,
    args=instance_norm_args,
    truth=instance_norm,
    bound=COMPOSED,
    fused=True,
    special=False,
    bad=(
        bad("one axis", ShapeError, lambda: ops.instance_norm(zeros(4))),
        bad(
            "a bias of another size",
            ShapeError,
            lambda: ops.instance_norm(zeros(2, 3, 4), None, zeros(3)),
        ),
        bad("eps below zero", UsageError, lambda: ops.instance_norm(zeros(2, 3, 4), eps=-1.0)),
        mixed(ops.instance_norm, (2, 3, 4), (4,)),
    ),
)
