"""softmax, log-softmax and log-sum-exp along any axis, without the search for a maximum where it
can be.

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

SAFE_EXPONENT = 60.0
"""Up to this |lse|, softmax = exp(x) exp(-lse) needs no subtraction: neither factor over- or
underflows."""


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
    """x - log sum exp(x) along `axis`."""
    rows = _rows_along(x, axis)
    y = empty(rows.shape, x.dtype)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        for block in row_blocks(*rows.shape):
            lse = log_sums(rows[block], y[block])
            high = lse.astype(x.dtype)
            out = np.subtract(rows[block], high[:, None], out=y[block])
            # A large lse has digits below the last of x's dtype. Where it is infinite there are
            # none.
            low = np.where(np.isfinite(lse), lse - high, 0.0).astype(x.dtype)
            if low.any():
                out -= low[:, None]
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


def logsumexp(x: Array, axis: int = -1, keepdims: bool = False) -> Array:
    """log sum exp(x) along `axis`; -inf for a slice of nothing but -inf."""
    rows = _rows_along(x, axis)
    lse = np.empty(rows.shape[0], x.dtype)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        for block in row_blocks(*rows.shape):
            lse[block] = log_sums(rows[block], empty(rows[block].shape, x.dtype))
    axis = axis % x.ndim
    reduced = x.shape[:axis] + x.shape[axis + 1 :]
    result = lse.reshape(reduced)
    return np.expand_dims(result, axis) if keepdims else result


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


def log_sums(x: Array, scratch: Array) -> Array:
    """log sum exp of every row of x (rows, n), in float64: it is subtracted from numbers of its
    size.

    A row of nothing but -inf gives -inf, one with +inf gives +inf.
    """
    sums, shift = exp_and_sum(x, scratch, normalise=False)
    lse = np.log(sums.astype(np.float64))
    if shift is not None:
        infinite = np.isinf(shift)
        lse += shift
        lse[infinite] = shift[infinite]
    return lse


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
