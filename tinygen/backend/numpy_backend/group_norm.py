"""Group norm, image by image in the cache, with an activation in the same pass.

    u = (x - mean) rstd w + bias over groups of channels,  y = f(u)     (Wu and He 2018, eqs. 1-3)

One pass forward: an image (or several small ones) is read once, its statistics are taken (two
passes, in cache), and u = a x + b with a, b one number a channel and image. One pass backward. What
is kept is mean, rstd and f'(u): the activation's exponential is never computed twice. Whatever is
one number a channel and image is float64.
"""

import numpy as np

from tinygen.backend.numpy_backend.activation import BLOCK as ACTIVATION_BLOCK
from tinygen.backend.numpy_backend.activation import activation_of_blocks
from tinygen.backend.numpy_backend.aligned import empty
from tinygen.backend.numpy_backend.array import Array
from tinygen.backend.numpy_backend.channels import sums, wide, widened
from tinygen.backend.numpy_backend.rows import row_blocks

BLOCK = 65536
"""Elements of the images that are taken together."""


def group_norm_forward(
    x: Array,
    groups: int,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    activation: str | None = None,
    with_derivative: bool = True,
) -> tuple[Array, Array, Array, Array | None]:
    """x (N, ..., C), weight and bias (C,) -> y (N, ..., C), mean and rstd (N, C), and f'(u), which
    is None without an activation and where `with_derivative` does not ask for it."""
    N, C = x.shape[0], x.shape[-1]
    images = widened(x, N)
    y = empty(images.shape, x.dtype)
    slope = empty(images.shape, x.dtype) if activation and with_derivative else None
    apply = activation_of_blocks(activation, x.dtype, ACTIVATION_BLOCK) if activation else None
    mean, rstd = np.empty((N, C)), np.empty((N, C))
    count = x.size // max(N * groups, 1)  # elements of a group
    scratch = None
    for block in row_blocks(N, x.size // max(N, 1), BLOCK):
        xs, ys, m, r = images[block], y[block], mean[block], rstd[block]
        scratch = empty(xs.shape, x.dtype) if scratch is None else scratch
        m[...] = _averaged(sums(xs, C), groups, count)
        centred = np.subtract(xs, wide(m, xs), out=scratch[: len(xs)])
        centred *= centred
        r[...] = 1 / np.sqrt(_averaged(sums(centred, C), groups, count) + eps)
        scale = r if weight is None else weight * r
        shift = -scale * m if bias is None else bias - scale * m
        u = np.multiply(xs, wide(scale, xs), out=centred if apply else ys)
        u += wide(shift, xs)
        if apply:
            flat = u.reshape(-1), ys.reshape(-1)
            d = None if slope is None else slope[block].reshape(-1)
            for i in range(0, u.size, ACTIVATION_BLOCK):
                part = slice(i, i + ACTIVATION_BLOCK)
                apply(flat[0][part], flat[1][part], None if d is None else d[part])
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
    images, grad = widened(x, N), widened(g, N)
    slopes = None if slope is None else widened(slope, N)
    dx = empty(images.shape, x.dtype) if needs[0] else None
    total, moment = np.empty((N, C)), np.empty((N, C))  # sums of gu and of gu c
    count = x.size // max(N * groups, 1)  # elements of a group
    scratch = None
    for block in row_blocks(N, x.size // max(N, 1), BLOCK):
        xs, gs, m, r = images[block], grad[block], mean[block], rstd[block]
        scratch = [empty(xs.shape, x.dtype) for _ in range(2)] if scratch is None else scratch
        product, gu = (a[: len(xs)] for a in scratch)
        if slopes is not None:
            gs = np.multiply(gs, slopes[block], out=gu)
        s = total[block] = sums(gs, C)
        c = moment[block] = sums(np.multiply(gs, xs, out=product), C) - m * s
        if dx is None:
            continue
        # dx = scale gu + factor x + offset
        scale = r if weight is None else r * weight
        factor = -r * r * _averaged(scale * c, groups, count)
        offset = _averaged(scale * s, groups, count) + factor * m
        out = np.multiply(gs, wide(scale, gs), out=dx[block])
        out += np.multiply(xs, wide(factor, xs), out=product)
        out -= wide(offset, xs)
    moment *= rstd
    return (
        None if dx is None else dx.reshape(x.shape),
        moment.sum(0).astype(x.dtype) if needs[1] else None,
        total.sum(0).astype(x.dtype) if needs[2] else None,
    )


def _averaged(values: Array, groups: int, count: int) -> Array:
    """Sums of channels (k, C) -> (k, C), float64: for each channel, the mean over its group of
    `count` elements."""
    k, channels = values.shape
    size = channels // groups
    means = values.reshape(k * groups, size) @ np.full(size, 1 / max(count, 1))
    return np.repeat(means, size).reshape(k, channels)
