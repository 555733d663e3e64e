"""-log p of rows of Bernoulli variables from their logits, and its slope, in one pass over blocks.

    loss  = sum over d of  log(1 + e^-|x|) + x (s - t),    s = 1 where x >= 0, else 0
    slope = max(e^-|x|, s) / (1 + e^-|x|) - t              = sigmoid(x) - t

One exponential serves both, and neither overflows or cancels.
"""

import numpy as np

from tinygen.backend.numpy_backend.aligned import empty
from tinygen.backend.numpy_backend.array import Array
from tinygen.backend.numpy_backend.rows import as_rows, row_blocks, row_sums

BLOCK = 32768
"""Elements of a block: logits, targets, slope and three scratch blocks of float32 take 0.8 MB."""


def bernoulli_nll_forward(
    logits: Array, targets: Array, with_derivative: bool = True
) -> tuple[Array, Array | None]:
    """logits (..., D), targets (the last axes of that) -> losses (...,), and d loss / d logits
    (..., D) for backward, or None."""
    x, t = as_rows(logits), as_rows(targets)
    rows, width = x.shape
    losses = np.empty(rows, x.dtype)
    slope = empty(x.shape, x.dtype) if with_derivative else None
    height = max(1, BLOCK // max(1, width))
    scratch = empty((3, min(height, len(t)), width), x.dtype)
    for start in range(0, rows, max(1, len(t))):  # each time against all the targets
        for block in row_blocks(len(t), width, BLOCK):
            place = slice(start + block.start, start + block.stop)
            out = None if slope is None else slope[place]
            losses[place] = _block(x[place], t[block], out, *scratch[:, : block.stop - block.start])
    shaped = None if slope is None else slope.reshape(logits.shape)
    return losses.reshape(logits.shape[:-1]), shaped


def _block(x: Array, t: Array, slope: Array | None, u: Array, w: Array, scratch: Array) -> Array:
    np.absolute(x, out=u)
    np.negative(u, out=u)
    np.exp(u, out=u)  # e^-|x|
    step = np.greater_equal(x, 0, out=scratch)
    if slope is not None:
        np.maximum(u, step, out=slope)  # e^x, or 1 from 0 on
    step -= t
    loss = np.vecdot(x, step)
    np.add(u, 1, out=w)
    if slope is not None:
        slope /= w
        slope -= t
    # log(1 + u) = log(w) + (u - (w - 1)) / w, where w is 1 + u as it was rounded: what the rounding
    # took comes back in the quotient, and NumPy has a vectorised log on more processors than log1p.
    rounded = np.subtract(w, 1, out=scratch)
    u -= rounded
    u /= w
    loss += row_sums(u)
    return loss + row_sums(np.log(w, out=w))
