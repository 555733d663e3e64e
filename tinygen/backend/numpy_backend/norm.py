"""Layer norm and RMS norm over the last axis: row blocks in the cache, sums and spreading by BLAS.

    layer norm   y = (x - mean) rstd w + b,  rstd = 1/sqrt(var + eps)     (Ba et al. 2016, eq. 4)
    rms norm     y = x rstd w,               rstd = 1/sqrt(mean(x^2) + eps)  (Zhang, Sennrich 2019)

The variance is taken of the centred row (two passes), never as E[x^2] - mean^2. Only mean and rstd
are kept for backward: the centred row costs one subtraction to make again, storing it would cost as
much memory traffic and an activation's worth of memory in every layer.
"""

import numpy as np

from tinygen.backend.numpy_backend.aligned import empty
from tinygen.backend.numpy_backend.array import Array
from tinygen.backend.numpy_backend.rows import (
    as_rows,
    column_sums,
    ones,
    outer,
    row_blocks,
    row_sums,
    spread,
)

BLOCK = 98304
"""Elements of a row block."""

FEW = 4096
"""Elements of x up to which broadcasting is cheaper than calls of BLAS that spread."""


def layer_norm_forward(
    x: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """x (..., n), weight and bias (n,) -> y (..., n), mean (rows,), rstd (rows,)."""
    source = as_rows(x)
    rows, n = source.shape
    y = empty((rows, n), x.dtype)
    mean, rstd = np.empty(rows, x.dtype), np.empty(rows, x.dtype)
    if 0 < rows * n <= FEW:
        np.multiply(row_sums(source), 1.0 / n, out=mean)
        np.subtract(source, mean[:, None], out=y)
        y *= _rstd(y, eps, out=rstd)[:, None]
        if weight is not None:
            y *= weight
        if bias is not None:
            y += bias
        return y.reshape(x.shape), mean, rstd
    w = ones(n, x.dtype) if weight is None else weight
    for block in row_blocks(rows, n, BLOCK):
        xs, ys, m = source[block], y[block], mean[block]
        np.multiply(row_sums(xs), 1.0 / max(n, 1), out=m)
        wide = spread(m, n)
        np.subtract(xs, wide, out=ys)
        r = _rstd(ys, eps, out=rstd[block])
        ys *= outer(r, w, out=wide)
        if bias is not None:
            ys += bias
    return y.reshape(x.shape), mean, rstd


def layer_norm_backward(
    g: Array,
    x: Array,
    weight: Array | None,
    mean: Array,
    rstd: Array,
    needs: tuple[bool, ...],
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients (dx, dweight, dbias), None where `needs` does not ask for one.

    With c = x - mean, h = g w and means over a row:
    dx = rstd (h - mean(h) - c rstd^2 mean(h c)),  dw = sum over rows of g c rstd,  db = of g.
    """
    grad, source = as_rows(g), as_rows(x)
    rows, n = source.shape
    needs_x, needs_weight, needs_bias = needs
    w = ones(n, x.dtype) if weight is None else weight
    dx = empty((rows, n), x.dtype) if needs_x else None
    dweight = np.zeros(n, x.dtype) if needs_weight else None
    dbias = np.zeros(n, x.dtype) if needs_bias else None
    mean_weight = w / max(n, 1)  # g @ mean_weight is mean(h)
    for block in row_blocks(rows, n, BLOCK):
        gs, r = grad[block], rstd[block]
        if dbias is not None:
            dbias += column_sums(gs)
        if dx is None and dweight is None:
            continue
        wide = spread(mean[block], n)
        centred = np.subtract(source[block], wide, out=wide)
        product = np.multiply(gs, centred, out=empty(gs.shape, g.dtype))
        if dweight is not None:
            dweight += r @ product
        if dx is not None:
            projection = r * (r * (r * (product @ mean_weight)))
            centred *= spread(projection, n, out=product)
            out = outer(r, w, out=dx[block])
            out *= gs
            out -= centred
            out -= spread(r * (gs @ mean_weight), n, out=product)
    return None if dx is None else dx.reshape(x.shape), dweight, dbias


def rms_norm_forward(x: Array, weight: Array | None, eps: float) -> tuple[Array, Array]:
    """x (..., n), weight (n,) -> y (..., n), rstd (rows,)."""
    source = as_rows(x)
    rows, n = source.shape
    y, rstd = empty((rows, n), x.dtype), np.empty(rows, x.dtype)
    w = ones(n, x.dtype) if weight is None else weight
    for block in row_blocks(rows, n, BLOCK):
        r = _rstd(source[block], eps, out=rstd[block])
        ys = outer(r, w, out=y[block])
        ys *= source[block]
    return y.reshape(x.shape), rstd


def rms_norm_backward(
    g: Array, x: Array, weight: Array | None, rstd: Array, needs: tuple[bool, ...]
) -> tuple[Array | None, Array | None]:
    """Gradients (dx, dweight), None where `needs` does not ask for one.

    dx = rstd (h - x rstd^2 mean(h x)) with h = g w,  dw = sum over rows of g x rstd.
    """
    grad, source = as_rows(g), as_rows(x)
    rows, n = source.shape
    needs_x, needs_weight = needs
    w = ones(n, x.dtype) if weight is None else weight
    dx = empty((rows, n), x.dtype) if needs_x else None
    dweight = np.zeros(n, x.dtype) if needs_weight else None
    mean_weight = w / max(n, 1)
    for block in row_blocks(rows, n, BLOCK):
        gs, xs, r = grad[block], source[block], rstd[block]
        product = np.multiply(gs, xs, out=empty(gs.shape, g.dtype))
        if dweight is not None:
            dweight += r @ product
        if dx is not None:
            projection = spread(r * (r * (r * (product @ mean_weight))), n, out=product)
            projection *= xs
            out = outer(r, w, out=dx[block])
            out *= gs
            out -= projection
    return None if dx is None else dx.reshape(x.shape), dweight


def add_layer_norm_forward(
    x: Array, residual: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array, Array]:
    """x, residual (..., n) -> y, their sum (..., n), and its mean and rstd (rows,)."""
    total = np.add(x, residual, out=empty(x.shape, x.dtype))
    y, mean, rstd = layer_norm_forward(total, weight, bias, eps)
    return y, total, mean, rstd


def add_layer_norm_backward(
    g: Array,
    g_total: Array,
    total: Array,
    weight: Array | None,
    mean: Array,
    rstd: Array,
    needs: tuple[bool, ...],
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients (dx, dweight, dbias); that of the residual is dx too."""
    dx, dweight, dbias = layer_norm_backward(g, total, weight, mean, rstd, needs)
    return _plus(dx, g_total), dweight, dbias


def add_rms_norm_forward(
    x: Array, residual: Array, weight: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """x, residual (..., n) -> y, their sum (..., n), and its rstd (rows,)."""
    total = np.add(x, residual, out=empty(x.shape, x.dtype))
    y, rstd = rms_norm_forward(total, weight, eps)
    return y, total, rstd


def add_rms_norm_backward(
    g: Array,
    g_total: Array,
    total: Array,
    weight: Array | None,
    rstd: Array,
    needs: tuple[bool, ...],
) -> tuple[Array | None, Array | None]:
    """Gradients (dx, dweight); that of the residual is dx too."""
    dx, dweight = rms_norm_backward(g, total, weight, rstd, needs)
    return _plus(dx, g_total), dweight


def _plus(dx: Array | None, g_total: Array) -> Array | None:
    """dx with what reaches the sum past the norm, in place."""
    if dx is not None:
        dx += g_total
    return dx


def _rstd(rows: Array, eps: float, out: Array) -> Array:
    """1/sqrt(mean(row^2) + eps) of every row."""
    np.vecdot(rows, rows, out=out)
    out *= 1.0 / max(rows.shape[1], 1)
    out += eps
    np.sqrt(out, out=out)
    return np.reciprocal(out, out=out)
