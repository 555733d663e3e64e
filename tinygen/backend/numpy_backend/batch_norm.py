"""Batch norm over all axes but the last (Ioffe and Szegedy 2015, algorithm 1).

    y = a x + b,  a = w rstd,  b = bias - a mean,  rstd = 1/sqrt(var + eps)

Two passes over x in blocks: each block gives its own mean and its sum of squares about that mean,
while it is in cache, and the blocks are merged exactly (Chan, Golub and LeVeque 1983, eq. 2.1); no
E[x^2] - mean^2, and no third pass. Sums of blocks and all that is one number a channel is float64.
"""

import numpy as np

from tinygen.backend.numpy_backend.aligned import empty
from tinygen.backend.numpy_backend.array import Array
from tinygen.backend.numpy_backend.channels import product_sums, sums, wide, widened
from tinygen.backend.numpy_backend.rows import row_blocks

BLOCK = 65536
"""Elements of a block."""


def batch_norm_forward(
    x: Array,
    mean: Array,
    var: Array,
    weight: Array | None,
    bias: Array | None,
    *,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Array, Array, Array, Array, Array]:
    """x (..., C), others (C,) -> y (..., C), the new running mean and var (C,), and for backward
    the mean that was subtracted and rstd, (C,) in float64. `mean` and `var` are the old ones.
    """
    rows, count = widened(x, 1), x.size // max(x.shape[-1], 1)
    if training:
        used_mean, used_var = _statistics(rows, x.shape[-1])
        new_mean = (1 - momentum) * mean + momentum * used_mean
        new_var = (1 - momentum) * var + (momentum * count / (count - 1)) * used_var
    else:
        used_mean, used_var = mean.astype(np.float64), var.astype(np.float64)
        new_mean, new_var = mean, var
    rstd = 1 / np.sqrt(used_var + eps)
    scale = rstd if weight is None else weight * rstd
    shift = -scale * used_mean if bias is None else bias - scale * used_mean
    y = empty(rows.shape, x.dtype)
    a, b = wide(scale[None, :, None], rows)[0], wide(shift[None, :, None], rows)[0]
    for block in row_blocks(rows.shape[1], rows.shape[2], BLOCK):
        ys = np.multiply(rows[0, block], a, out=y[0, block])
        ys += b
    new = (np.array(new_mean, x.dtype), np.array(new_var, x.dtype))
    return y.reshape(x.shape), *new, used_mean, rstd


def batch_norm_backward(
    g: Array,
    g_mean: Array,
    g_var: Array,
    x: Array,
    weight: Array | None,
    mean: Array,
    rstd: Array,
    needs: tuple[bool, ...],
    *,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Array | None, ...]:
    """Gradients (dx, dmean, dvar, dweight, dbias), None where `needs` does not ask for one.

    g, g_mean and g_var are those of y and of the new statistics. With c = x - mean and M positions,
    dx = a (g - mean(g) - c rstd^2 mean(g c)) + momentum (g_mean / M + 2 c g_var / (M - 1)) in
    training, a g otherwise;  dw = sum of g c rstd,  db = sum of g.
    """
    C, rows, grad = x.shape[-1], widened(x, 1), widened(g, 1)
    count = x.size // max(C, 1)
    total, product = np.zeros(C), np.zeros(C)  # sums of g and of g x
    for block in row_blocks(rows.shape[1], rows.shape[2], BLOCK):
        gs, xs = grad[:, block], rows[:, block]
        total += sums(gs, C)[0]
        product += product_sums(gs, xs, C)[0]
    product -= mean * total  # sum of g c
    scale = rstd if weight is None else weight * rstd
    if training:
        slope = -scale * rstd * rstd * product / count + 2 * momentum / (count - 1) * g_var
        offset = (momentum * g_mean - scale * total) / count - slope * mean
        d_mean, d_var = (1 - momentum) * g_mean, (1 - momentum) * g_var
    else:
        slope = offset = np.zeros(C)
        d_mean, d_var = g_mean - scale * total, g_var - 0.5 * scale * rstd * rstd * product
    dx = None
    if needs[0]:
        dx = _combined(grad, rows, scale, slope, offset).reshape(x.shape)
    small = (d_mean, d_var, rstd * product, total)
    found = (np.array(v, x.dtype) if n else None for v, n in zip(small, needs[1:], strict=True))
    return (dx, *found)


def _combined(g: Array, x: Array, a: Array, b: Array, c: Array) -> Array:
    """a g + b x + c for vectors of channels; where b and c are zero, a g."""
    out = empty(g.shape, g.dtype)
    a, b, c = (wide(v[None, :, None], g)[0] for v in (a, b, c))
    plain = not b.any() and not c.any()
    scratch = None
    for block in row_blocks(g.shape[1], g.shape[2], BLOCK):
        ys = np.multiply(g[0, block], a, out=out[0, block])
        if plain:
            continue
        if scratch is None:
            scratch = empty(ys.shape, g.dtype)
        ys += np.multiply(x[0, block], b, out=scratch[: len(ys)])
        ys += c
    return out


def _statistics(rows: Array, channels: int) -> tuple[Array, Array]:
    """Mean and biased variance of each channel, float64."""
    count, mean, squares = 0, np.zeros(channels), np.zeros(channels)
    scratch = None
    for block in row_blocks(rows.shape[1], rows.shape[2], BLOCK):
        xs = rows[:, block]
        if scratch is None:
            scratch = empty(xs.shape, xs.dtype)
        more = xs.size // max(channels, 1)
        block_mean = (sums(xs, channels) / max(more, 1)).astype(rows.dtype)
        centred = np.subtract(xs, wide(block_mean[:, :, None], xs), out=scratch[:, : xs.shape[1]])
        distance = block_mean[0] - mean
        squares += product_sums(centred, centred, channels)[0]
        squares += distance * distance * (count * more / max(count + more, 1))
        mean += distance * (more / max(count + more, 1))
        count += more
    return mean, squares / max(count, 1)
