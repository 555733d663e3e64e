"""softmax and log-softmax along any axis; softmax without the search for a maximum where it can be.

    softmax(x) = exp(x - m) / sum exp(x - m)   is the same number for every shift m.

The maximum is the usual m because exp then neither overflows nor underflows. But it is the slowest
reduction that NumPy has on short rows, and mostly m = 0 serves: if sum exp(x) lies well inside the
floating-point range, nothing overflowed, and every term that matters kept all its digits. So each
block is first done with m = 0; only rows whose sum is outside [SAFE_LOW, SAFE_HIGH] are done again
with their own maximum. Those are also all rows with infinities and NaN, which then follow IEEE
arithmetic: a row of nothing but -inf, or with +inf, has softmax NaN.
"""

import numpy as np

from tinygen.backend.numpy_backend.aligned import empty
from tinygen.backend.numpy_backend.array import Array
from tinygen.backend.numpy_backend.rows import row_blocks, row_sums

SAFE_LOW, SAFE_HIGH = 1e-4, 1e30
"""Sums of exp(x) for which no shift is needed, in float32 and float64."""


def softmax(x: Array, axis: int = -1) -> Array:
    """exp(x) / sum exp(x) along `axis`."""
    rows = _rows_along(x, axis)
    y = empty(rows.shape, x.dtype)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for block in row_blocks(*rows.shape):
            exp_and_sum(rows[block], y[block], normalise=True)
    return _restored(y, x.shape, axis)


def softmax_backward(g: Array, y: Array, axis: int = -1) -> Array:
    """dx = y (g - sum(g y)), where y = softmax(x)."""
    grad, probs = _rows_along(g, axis), _rows_along(y, axis)
    dx = empty(probs.shape, y.dtype)
    for block in row_blocks(*probs.shape):
        out = np.subtract(grad[block], np.vecdot(grad[block], probs[block])[:, None], out=dx[block])
        out *= probs[block]
    return _restored(dx, y.shape, axis)


def log_softmax(x: Array, axis: int = -1) -> Array:
    """x - log sum exp(x) along `axis`, as (x - m) - log1p(sum of the others' exp(x - m)).

    The maximum m is taken out for good here: the largest logarithm is the small number -log1p(...),
    which a sum that is rounded beside 1 would lose.
    """
    rows = _rows_along(x, axis)
    y = empty(rows.shape, x.dtype)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        for block in row_blocks(*rows.shape):
            largest = np.argmax(rows[block], axis=1)
            place = np.arange(largest.size), largest
            shift = rows[block][place]
            out = np.subtract(rows[block], shift[:, None], out=y[block])
            others = np.exp(out)
            others[place] = 0.0
            log_sum = np.log1p(row_sums(others))
            log_sum[np.isinf(shift)] = 0.0
            out -= log_sum[:, None]
    return _restored(y, x.shape, axis)


def log_softmax_backward(g: Array, y: Array, axis: int = -1) -> Array:
    """dx = g - exp(y) sum(g), where y = log_softmax(x)."""
    grad, logs = _rows_along(g, axis), _rows_along(y, axis)
    dx = empty(logs.shape, y.dtype)
    with np.errstate(under="ignore"):
        for block in row_blocks(*logs.shape):
            out = np.exp(logs[block], out=dx[block])
            out *= row_sums(grad[block])[:, None]
            np.subtract(grad[block], out, out=out)
    return _restored(dx, y.shape, axis)


def exp_and_sum(x: Array, out: Array, *, normalise: bool) -> tuple[Array, Array | None]:
    """out = exp(x - shift) for every row of x (rows, n); returns its row sums and the shift, None
    for 0.

    With `normalise`, out is divided by the sums. The caller silences overflow and invalid.
    """
    np.exp(x, out=out)
    sums = row_sums(out)
    safe = is_safe(sums)
    shift = None
    if not safe.all():
        shift = np.zeros(len(x), x.dtype)
        again = np.flatnonzero(~safe)
        rows = x[again]
        largest = np.maximum.reduce(rows, axis=1, initial=-np.inf)
        rows -= largest[:, None]
        out[again] = np.exp(rows, out=rows)
        sums[again], shift[again] = row_sums(rows), largest
    if normalise:
        out *= np.reciprocal(sums)[:, None]
    return sums, shift


def is_safe(sums: Array) -> Array:
    """Which of these sums of exp(x) need no shift: all digits are there. False for NaN."""
    return (sums >= SAFE_LOW) & (sums <= SAFE_HIGH)


def _rows_along(x: Array, axis: int) -> Array:
    """(..., n, ...) -> (rows, n), with `axis` moved last."""
    last = np.moveaxis(x, axis, -1)
    n = last.shape[-1]
    return last.reshape(x.size // n if n else 0, n)


def _restored(rows: Array, shape: tuple[int, ...], axis: int) -> Array:
    """The inverse of `_rows_along`."""
    axis = axis % len(shape)
    moved = shape[:axis] + shape[axis + 1 :] + shape[axis : axis + 1]
    return np.moveaxis(rows.reshape(moved), -1, axis)
