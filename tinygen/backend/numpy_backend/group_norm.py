"""Group norm, image by image in the cache, with an activation in the same pass.

    u = (x - mean) rstd w + bias over groups of channels,  y = f(u)     (Wu and He 2018, eqs. 1-3)

One pass forward: an image (or several small ones) is read once, its statistics are taken in cache,
and u = a x + b with a, b one number a channel and image. One pass backward. What is kept is mean,
rstd and f'(u): the activation's exponential is never computed twice. Whatever is one number a group
or a channel of an image is float64.
"""

import numpy as np

from tinygen.backend.numpy_backend.activation import activation_of_blocks
from tinygen.backend.numpy_backend.aligned import empty
from tinygen.backend.numpy_backend.array import Array
from tinygen.backend.numpy_backend.channels import product_sums, sums, wide, widened
from tinygen.backend.numpy_backend.rows import row_blocks

BLOCK = 65536
"""Elements of the images that are taken together, and of what is activated at once."""

TRUSTED = 4.0
"""Up to this mean^2 / var the variance is E[x^2] - mean^2, with an error of a few roundings;
beyond it the mean is subtracted first, in a pass more."""


def group_norm_forward(
    x: Array,
    groups: int,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    activation: str | None = None,
    with_derivative: bool = True,
) -> tuple[Array, Array, Array, Array | None]:
    """x (N, ..., C), weight and bias (C,) -> y (N, ..., C), mean and rstd (N, G, 1) of G groups,
    and f'(u), which is None without an activation and where `with_derivative` does not ask for it.
    """
    N, C = x.shape[0], x.shape[-1]
    images, size = widened(x, N), C // groups
    y = empty(images.shape, x.dtype)
    slope = empty(images.shape, x.dtype) if activation and with_derivative else None
    apply = activation_of_blocks(activation, x.dtype, min(BLOCK, x.size)) if activation else None
    weight, bias = (v if v is None else v.reshape(groups, size) for v in (weight, bias))
    mean, rstd = np.empty((N, groups, 1)), np.empty((N, groups, 1))
    share = 1 / max(x.size // max(N * groups, 1), 1)  # of an element in its group's mean
    scratch = None
    for block in row_blocks(N, x.size // max(N, 1), BLOCK):
        xs, ys, m, r = images[block], y[block], mean[block], rstd[block]
        scratch = empty(xs.shape, x.dtype) if scratch is None else scratch
        np.multiply(_group_sums(sums(xs, C), groups), share, out=m)
        var = _group_sums(product_sums(xs, xs, C), groups) * share - m * m
        if not (m * m <= TRUSTED * var).all():
            centred = np.subtract(xs, wide(m, xs, size), out=scratch[: len(xs)])
            var = _group_sums(product_sums(centred, centred, C), groups) * share
        np.divide(1.0, np.sqrt(var + eps), out=r)
        scale = r if weight is None else weight * r  # (k, G, C/G), or (k, G, 1)
        shift = -scale * m if bias is None else bias - scale * m
        u = np.multiply(xs, wide(scale, xs, size), out=scratch[: len(xs)] if apply else ys)
        u += wide(shift, xs, size)
        if apply:
            d = None if slope is None else slope[block].reshape(-1)
            before, after = u.reshape(-1), ys.reshape(-1)
            for i in range(0, u.size, BLOCK):
                part = slice(i, i + BLOCK)
                apply(before[part], after[part], None if d is None else d[part])
    return y.reshape(x.shape), mean, rstd, slope if slope is None else slope.reshape(x.shape)


def group_norm_backward(
    g: Array,
    x: Array,
    groups: int,
    weight: Array | None,
    mean: Array,
    rstd: Array,
    slope: Array | None,
    needs: tuple[bool, ...],
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients (dx, dweight, dbias), None where `needs` does not ask for one.

    With gu = g f'(u), h = gu w, c = x - mean and means over a group,
    dx = rstd (h - mean(h) - c rstd^2 mean(h c)),  dw = sum of gu c rstd,  db = sum of gu.
    """
    N, C = x.shape[0], x.shape[-1]
    images, grad, size = widened(x, N), widened(g, N), C // groups
    slopes = None if slope is None else widened(slope, N)
    dx = empty(images.shape, x.dtype) if needs[0] else None
    weight = None if weight is None else weight.reshape(groups, size)
    total, moment = (np.empty((N, groups, size)) for _ in range(2))  # sums of gu and of gu c
    share = 1 / max(x.size // max(N * groups, 1), 1)
    scratch = None
    for block in row_blocks(N, x.size // max(N, 1), BLOCK):
        xs, gs, m, r = images[block], grad[block], mean[block], rstd[block]
        scratch = empty(xs.shape, x.dtype) if scratch is None else scratch
        if slopes is not None:
            gs = np.multiply(gs, slopes[block], out=scratch[: len(xs)])
        s, c = total[block], moment[block]
        s[...] = sums(gs, C).reshape(s.shape)
        c[...] = product_sums(gs, xs, C).reshape(s.shape)
        c -= m * s
        if dx is None:
            continue
        # dx = scale gu + factor x - offset
        scale = r if weight is None else r * weight
        factor = _group_sums(scale * c, groups) * (-share * r * r)
        offset = _group_sums(scale * s, groups) * share + factor * m
        out = np.multiply(gs, wide(scale, gs, size), out=dx[block])
        out += np.multiply(xs, wide(factor, xs, size), out=scratch[: len(xs)])
        out -= wide(offset, xs, size)
    moment *= rstd
    return (
        None if dx is None else dx.reshape(x.shape),
        moment.sum(0).reshape(C).astype(x.dtype) if needs[1] else None,
        total.sum(0).reshape(C).astype(x.dtype) if needs[2] else None,
    )


def _group_sums(values: Array, groups: int) -> Array:
    """(k, C) or (k, G, C/G) -> (k, G, 1), float64."""
    k, size = len(values), values[0].size // groups if len(values) else 0
    return np.add.reduce(values.reshape(k, groups, size), -1, np.float64, keepdims=True)
