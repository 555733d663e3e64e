"""Softmax cross-entropy of logits (N, classes), forward and backward, without the
log-probabilities.

For integer targets t, label smoothing s and z-loss weight z (Chowdhery et al. 2022, section 5):

    lse = log sum exp(x)
    loss = lse - (1 - s) x[t] - s mean(x) + z lse^2
    dx   = g ((1 + 2 z lse) softmax(x) - (1 - s) onehot(t) - s / classes)

and for targets that are weights w (N, classes):

    loss = sum(w) lse - w . x + z lse^2
    dx   = g ((sum(w) + 2 z lse) softmax(x) - w),  dw = g (lse - x)

The softmax is made again in backward from the logits and lse: one exp, and no (N, classes) array
kept.
"""

import numpy as np

from tinygen.backend.numpy_backend.aligned import empty
from tinygen.backend.numpy_backend.array import Array
from tinygen.backend.numpy_backend.rows import row_blocks, row_sums
from tinygen.backend.numpy_backend.softmax import SAFE_EXPONENT, log_sums


def cross_entropy_forward(
    logits: Array,
    targets: Array,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    z_loss: float = 0.0,
) -> tuple[Array, Array]:
    """logits (N, classes), targets (N,) integers -> loss of each row (N,), and lse (N,) for
    backward.

    A row whose target is `ignore_index` has loss 0; every other target is in [0, classes).
    """
    n, classes = logits.shape
    ignored = _ignored(targets, ignore_index)
    chosen = targets if ignored is None else np.where(ignored, 0, targets)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        lse = _log_sums(logits)
        wide = logits[np.arange(n), chosen].astype(np.float64)
        if label_smoothing:
            wide *= 1.0 - label_smoothing
            wide += row_sums(logits) * (label_smoothing / classes)
        losses = lse - wide
        if z_loss:
            losses += z_loss * lse * lse
    if ignored is not None:
        losses[ignored] = 0.0
    return losses.astype(logits.dtype), lse.astype(logits.dtype)


def cross_entropy_backward(
    g: Array,
    logits: Array,
    lse: Array,
    targets: Array,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    z_loss: float = 0.0,
) -> Array:
    """g (N,), the gradient of each row's loss -> dlogits (N, classes), zero in ignored rows."""
    n, classes = logits.shape
    ignored = _ignored(targets, ignore_index)
    chosen = targets if ignored is None else np.where(ignored, 0, targets)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        dlogits = _scaled_softmax(logits, lse, g * (1.0 + 2.0 * z_loss * lse) if z_loss else g)
        if label_smoothing:
            dlogits -= (g * (label_smoothing / classes))[:, None]
        dlogits[np.arange(n), chosen] -= g * (1.0 - label_smoothing)
    if ignored is not None:
        dlogits[ignored] = 0.0
    return dlogits


def soft_cross_entropy_forward(
    logits: Array, targets: Array, z_loss: float = 0.0
) -> tuple[Array, Array]:
    """logits, targets (N, classes) floats -> loss of each row (N,), and lse (N,) for backward."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        lse = _log_sums(logits)
        losses = row_sums(targets) * lse - np.vecdot(targets, logits)
        if z_loss:
            losses += z_loss * lse * lse
    return losses.astype(logits.dtype), lse.astype(logits.dtype)


def soft_cross_entropy_backward(
    g: Array,
    logits: Array,
    lse: Array,
    targets: Array,
    z_loss: float = 0.0,
    needs: tuple[bool, ...] = (True, True),
) -> tuple[Array | None, Array | None]:
    """g (N,) -> dlogits and dtargets (N, classes), None where `needs` does not ask for one."""
    needs_logits, needs_targets = needs
    dlogits = dtargets = None
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        if needs_logits:
            dlogits = _scaled_softmax(logits, lse, g * (row_sums(targets) + 2.0 * z_loss * lse))
            dlogits -= targets * g[:, None]
        if needs_targets:
            dtargets = lse[:, None] - logits
            dtargets *= g[:, None]
    return dlogits, dtargets


def _ignored(targets: Array, ignore_index: int | None) -> Array | None:
    """Which rows to leave out, or None if there are none."""
    if ignore_index is None:
        return None
    ignored = targets == ignore_index
    return ignored if ignored.any() else None


def _log_sums(logits: Array) -> Array:
    lse = np.empty(len(logits), np.float64)
    for block in row_blocks(*logits.shape):
        lse[block] = log_sums(logits[block], empty(logits[block].shape, logits.dtype))
    return lse


def _scaled_softmax(logits: Array, lse: Array, scale: Array) -> Array:
    """scale softmax(logits), row by row."""
    probs = empty(logits.shape, logits.dtype)
    for block in row_blocks(*logits.shape):
        log_sum, factor, out = lse[block], scale[block], probs[block]
        if np.absolute(log_sum).max(initial=0.0) <= SAFE_EXPONENT:
            np.exp(logits[block], out=out)
            factor = factor * np.exp(-log_sum)
        else:
            np.subtract(logits[block], log_sum[:, None], out=out)
            np.exp(out, out=out)
        out *= factor[:, None]
    return probs
