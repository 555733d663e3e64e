"""Cross-entropy, elementwise losses and divergences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.errors import DtypeError, OutOfRangeError, ShapeError, UsageError
from tinygen.testing.bounds import conditioned
from tinygen.testing.catalogue import Bad, register
from tinygen.testing.catalogue.argument import bad, zeros
from tinygen.testing.catalogue.fused import log_softmax
from tinygen.testing.drawing import REAL, Call, Domain, Draw

REDUCTIONS = ("mean", "sum", "none")
ROUNDED = conditioned(16, of_largest=8, absolute=8)
PROBABILITY = Domain(0.05, 0.95, wide=(0.0, 1.0))
LOGIT = Domain(-3.0, 3.0, wide=(-40.0, 40.0))


def reduced(losses: Any, reduction: str, count: int | None = None) -> Any:
    if reduction == "none":
        return losses
    total = np.sum(losses)
    count = losses.size if count is None else count
    return total if reduction == "sum" else total / (count or math.nan)


def unknown_reduction(f: Any) -> Bad:
    return bad("reduction", UsageError, lambda: f(zeros(2), zeros(2), reduction="median"))


# ---- cross-entropy -------------------------------------------------------------------------------


def cross_entropy_args(draw: Draw) -> Call:
    lead, V = draw.shape(0, 2), draw.choice((2, 3, 5))
    V = V if draw.regime == "smooth" else draw.choice((V, 1))
    soft = draw.boolean()
    ignored = None if soft else draw.choice((None, -100, 0))
    if soft:
        targets = draw.array((*lead, V), PROBABILITY)
    else:
        targets = draw.indices(lead, 0, V)
        if ignored == -100:
            targets = np.where(draw.indices(lead, 0, 3) == 0, -100, targets)
    return Call(
        draw.array((*lead, V), LOGIT),
        np.asarray(targets),
        reduction=draw.choice(("sum", "none") if ignored is not None else REDUCTIONS),
        label_smoothing=draw.choice((0.0, 0.1, 1.0)),
        ignore_index=ignored,
        z_loss=draw.choice((0.0, 0.01)),
    )


def cross_entropy(
    logits: Any,
    targets: Any,
    reduction: str,
    label_smoothing: float,
    ignore_index: int | None,
    z_loss: float,
) -> Any:
    """One row at a time, with the target as a distribution."""
    V = logits.shape[-1]
    losses = np.zeros(logits.shape[:-1], np.longdouble)
    counted = 0
    for place in np.ndindex(losses.shape):
        row, target = logits[place], targets[place]
        if target.ndim == 0 and target == ignore_index:
            continue
        counted += 1
        p = target if target.ndim else (np.arange(V) == target).astype(np.longdouble)
        p = (1 - np.longdouble(label_smoothing)) * p + np.longdouble(label_smoothing) / V
        lse = np.logaddexp.reduce(row)
        losses[place] = (p * (lse - row)).sum() + np.longdouble(z_loss) * lse**2
    return reduced(losses, reduction, counted)


register(
    ops.cross_entropy,
    args=cross_entropy_args,
    truth=cross_entropy,
    bound=conditioned(32, of_largest=8, absolute=32),
    fused=True,
    special=False,
    bad=(
        bad("no class", OutOfRangeError, lambda: ops.cross_entropy(zeros(1, 3), np.array([3]))),
        bad(
            "a negative class",
            OutOfRangeError,
            lambda: ops.cross_entropy(zeros(1, 3), np.array([-1])),
        ),
        bad("rows", ShapeError, lambda: ops.cross_entropy(zeros(2, 3), np.array([0]))),
        bad("soft rows", ShapeError, lambda: ops.cross_entropy(zeros(2, 3), zeros(2, 4))),
        bad("no classes", ShapeError, lambda: ops.cross_entropy(zeros(2, 0), np.array([0, 0]))),
        bad("booleans", DtypeError, lambda: ops.cross_entropy(zeros(2, 3), zeros(2) > 0)),
        bad(
            "too smooth",
            UsageError,
            lambda: ops.cross_entropy(zeros(1, 3), np.array([0]), label_smoothing=1.5),
        ),
        bad(
            "soft targets ignored",
            UsageError,
            lambda: ops.cross_entropy(zeros(1, 3), zeros(1, 3), ignore_index=0),
        ),
        bad(
            "reduction",
            UsageError,
            lambda: ops.cross_entropy(zeros(1, 3), np.array([0]), reduction="median"),
        ),
    ),
)


def linear_cross_entropy_args(draw: Draw) -> Call:
    lead, V, C = draw.shape(0, 2), draw.choice((2, 3, 5)), draw.choice((1, 2, 4))
    ignored = draw.choice((None, -100))
    targets = draw.indices(lead, 0, V)
    if ignored is not None:
        targets = np.where(draw.indices(lead, 0, 3) == 0, ignored, targets)
    return Call(
        draw.array((*lead, C), REAL),
        draw.array((V, C), REAL),
        np.asarray(targets),
        reduction="sum" if ignored is not None else draw.choice(("mean", "sum")),
        label_smoothing=draw.choice((0.0, 0.1)),
        ignore_index=ignored,
        z_loss=draw.choice((0.0, 0.01)),
    )


register(
    ops.linear_cross_entropy,
    args=linear_cross_entropy_args,
    truth=lambda x, weight, targets, **options: cross_entropy(x @ weight.T, targets, **options),
    bound=conditioned(32, of_largest=32, absolute=32),
    fused=True,
    special=False,
    bad=(
        bad(
            "no class",
            OutOfRangeError,
            lambda: ops.linear_cross_entropy(zeros(1, 2), zeros(3, 2), np.array([3])),
        ),
        bad(
            "features",
            ShapeError,
            lambda: ops.linear_cross_entropy(zeros(1, 2), zeros(3, 4), np.array([0])),
        ),
        bad(
            "rows",
            ShapeError,
            lambda: ops.linear_cross_entropy(zeros(2, 2), zeros(3, 2), np.array([0])),
        ),
        bad(
            "no classes",
            ShapeError,
            lambda: ops.linear_cross_entropy(zeros(1, 2), zeros(0, 2), np.array([0])),
        ),
        bad(
            "distributions",
            DtypeError,
            lambda: ops.linear_cross_entropy(zeros(1, 2), zeros(3, 2), zeros(1)),
        ),
        bad(
            "no reduction",
            UsageError,
            lambda: ops.linear_cross_entropy(
                zeros(1, 2), zeros(3, 2), np.array([0]), reduction="none"
            ),
        ),
    ),
)


# ---- elementwise ---------------------------------------------------------------------------------


def pair_args(
    first: Domain = REAL, second: Domain = REAL, **options: tuple[Any, ...]
) -> Callable[[Draw], Call]:
    def args(draw: Draw) -> Call:
        shape = draw.shape()
        params = {name: draw.choice(values) for name, values in options.items()}
        x, y = draw.array(shape, first), draw.array(shape, second)
        return Call(x, y, reduction=draw.choice(REDUCTIONS), **params)

    return args


def apart_args(draw: Draw) -> Call:
    """Two arrays that nowhere come close, for a kink at equality."""
    shape = draw.shape()
    x, y = draw.distinct(shape, shape)
    return Call(x, y, reduction=draw.choice(REDUCTIONS))


def huber_args(draw: Draw) -> Call:
    """Differences on both sides of delta, none of them near it."""
    shape = draw.shape()
    delta = draw.choice((1.0, 0.5))
    gap = draw.array(shape, Domain(-2.0, 2.0, kinks=(-delta, delta)))
    y = draw.array(shape)
    x = np.asarray((gap + y).astype(np.float32).astype(np.float64))
    return Call(x, y, reduction=draw.choice(REDUCTIONS), delta=delta)


def huber(x: Any, target: Any, reduction: str, delta: float) -> Any:
    d = np.abs(x - target)
    return reduced(np.where(d <= delta, d**2 / 2, delta * (d - delta / 2)), reduction)


def shapes_and_reduction(f: Any) -> tuple[Bad, ...]:
    return (
        bad("shapes", ShapeError, lambda: f(zeros(2), zeros(3))),
        bad("integers", DtypeError, lambda: f(zeros(2), np.arange(2))),
        unknown_reduction(f),
    )


register(
    ops.mse_loss,
    args=pair_args(),
    truth=lambda x, y, reduction: reduced((x - y) ** 2, reduction),
    bound=ROUNDED,
    special=False,
    bad=shapes_and_reduction(ops.mse_loss),
)
register(
    ops.l1_loss,
    args=apart_args,
    truth=lambda x, y, reduction: reduced(np.abs(x - y), reduction),
    bound=ROUNDED,
    kinks=True,
    special=False,
    bad=shapes_and_reduction(ops.l1_loss),
)
register(
    ops.huber_loss,
    args=huber_args,
    truth=huber,
    bound=ROUNDED,
    special=False,
    bad=(
        *shapes_and_reduction(ops.huber_loss),
        bad("delta", UsageError, lambda: ops.huber_loss(zeros(2), zeros(2), delta=0)),
    ),
)
register(
    ops.bce_with_logits,
    args=pair_args(LOGIT, PROBABILITY),
    truth=lambda x, t, reduction: reduced(
        t * np.logaddexp(-x, 0) + (1 - t) * np.logaddexp(x, 0), reduction
    ),
    bound=ROUNDED,
    fused=True,
    special=False,
    bad=shapes_and_reduction(ops.bce_with_logits),
)


def bernoulli_args(draw: Draw) -> Call:
    """Targets of the shape of the logits, or of their last axes."""
    shape = draw.shape(1)
    kept = draw.integer(0, len(shape) - 1)
    return Call(draw.array(shape, LOGIT), draw.array(shape[kept:], PROBABILITY))


def bernoulli_nll(logits: Any, targets: Any) -> Any:
    p_one, p_zero = np.logaddexp(-logits, 0), np.logaddexp(logits, 0)  # -log p of each outcome
    return (targets * p_one + (1 - targets) * p_zero).sum(-1)


register(
    ops.bernoulli_nll,
    args=bernoulli_args,
    truth=bernoulli_nll,
    bound=conditioned(16, of_largest=8, of_inputs=16, absolute=16),
    fused=True,
    special=False,
    bad=(
        bad("features", ShapeError, lambda: ops.bernoulli_nll(zeros(2), zeros(3))),
        bad("more targets", ShapeError, lambda: ops.bernoulli_nll(zeros(2), zeros(2, 2))),
        bad("targets to stretch", ShapeError, lambda: ops.bernoulli_nll(zeros(2, 2), zeros(1, 2))),
        bad("no axes", ShapeError, lambda: ops.bernoulli_nll(zeros(), zeros())),
        bad("integers", DtypeError, lambda: ops.bernoulli_nll(zeros(2), np.arange(2))),
    ),
)


# ---- divergences ---------------------------------------------------------------------------------

LOGVAR = Domain(-2.0, 2.0, wide=(-8.0, 8.0))
MEAN = Domain(-3.0, 3.0, wide=(-30.0, 30.0))


def gaussian_args(draw: Draw) -> Call:
    shape = draw.shape()
    arrays = [draw.array(shape, domain) for domain in (MEAN, LOGVAR, MEAN, LOGVAR)]
    given = draw.choice((2, 4))
    return Call(*arrays[:given], reduction=draw.choice(REDUCTIONS))


def gaussian_kl(mu: Any, logvar: Any, mu2: Any = 0.0, logvar2: Any = 0.0, *, reduction: str) -> Any:
    variances = (np.exp(logvar) + (mu - mu2) ** 2) / np.exp(logvar2)
    return reduced((logvar2 - logvar + variances - 1) / 2, reduction)


register(
    ops.gaussian_kl,
    args=gaussian_args,
    truth=gaussian_kl,
    bound=ROUNDED,
    special=False,
    bad=shapes_and_reduction(ops.gaussian_kl),
)


def latent_args(draw: Draw) -> Call:
    *lead, width = draw.shape(1)
    halves = [draw.array((*lead, width), domain) for domain in (MEAN, LOGVAR)]
    return Call(np.concat(halves, axis=-1), draw.array((*lead, width)))


def gaussian_latent(stats: Any, noise: Any) -> Any:
    mu, logvar = np.split(stats, 2, axis=-1)
    z = mu + np.sqrt(np.exp(logvar)) * noise
    return z, gaussian_kl(mu, logvar, reduction="none")


register(
    ops.gaussian_latent,
    args=latent_args,
    truth=gaussian_latent,
    bound=ROUNDED,
    fused=True,
    special=False,
    bad=(
        bad("an odd width", ShapeError, lambda: ops.gaussian_latent(zeros(3), zeros(1))),
        bad("rows", ShapeError, lambda: ops.gaussian_latent(zeros(2, 4), zeros(3, 2))),
        bad("no axes", ShapeError, lambda: ops.gaussian_latent(zeros(), zeros())),
        bad("integers", DtypeError, lambda: ops.gaussian_latent(zeros(2), np.arange(1))),
    ),
)


def categorical_args(draw: Draw) -> Call:
    shape = draw.shape(1)
    axis = draw.axis(shape)
    shape = draw.competing(shape, axis)
    arrays = [draw.array(shape, LOGIT) for _ in range(draw.choice((1, 2)))]
    return Call(*arrays, axis=axis, reduction=draw.choice(REDUCTIONS))


def categorical_kl(p: Any, q: Any = None, *, axis: int, reduction: str) -> Any:
    log_p = log_softmax(p, axis)
    log_q = log_softmax(np.zeros_like(p) if q is None else q, axis)
    return reduced((np.exp(log_p) * (log_p - log_q)).sum(axis), reduction)


register(
    ops.categorical_kl,
    args=categorical_args,
    truth=categorical_kl,
    bound=conditioned(32, of_largest=32, absolute=32),
    fused=True,
    special=False,
    bad=(
        *shapes_and_reduction(ops.categorical_kl),
        bad("no such axis", ShapeError, lambda: ops.categorical_kl(zeros(2), axis=1)),
    ),
)
