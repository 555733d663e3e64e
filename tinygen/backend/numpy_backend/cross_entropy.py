"""Softmax cross-entropy of logits (N, classes), forward and backward, without the
log-probabilities.

For integer targets t, label smoothing s and z-loss weight z (Chowdhery et al. 2022, section 5):

    lse  = log sum exp(x),   nll = lse - x[t]
    loss = (1 - s) nll + s mean(lse - x) + z lse^2
    dx   = g ((1 + 2 z lse) softmax(x) - (1 - s) onehot(t) - s / classes)

and for targets that are weights w (N, classes):

    loss = w . (lse - x) + z lse^2
    dx   = g ((sum(w) + 2 z lse) softmax(x) - w),  dw = g (lse - x)

lse is kept as a shift m and log sum exp(x - m), two numbers a row that are never added where that
would round: at |x| = 1e8 a float32 sum of them knows nothing of the second. m is 0 where that is
safe (`softmax.py`). Where the target is nearly certain, nll is log1p of the other classes' share,
and the target's entry of dx is expm1(-nll) instead of softmax - 1: both are small numbers with all
their digits. The softmax is made again in backward: one exp, and no (N, classes) array kept.
"""

from typing import NamedTuple

import numpy as np

from tinygen.backend.numpy_backend.aligned import empty
from tinygen.backend.numpy_backend.array import Array
from tinygen.backend.numpy_backend.rows import row_blocks, row_sums
from tinygen.backend.numpy_backend.softmax import exp_and_sum

CERTAIN = 0.25
"""Below this nll, the share of the other classes is summed by itself."""


class Normaliser(NamedTuple):
    """lse = shift + log_sum of each row (N,), both float64; `shift` is None if it is 0 in all."""

    shift: Array | None
    log_sum: Array

    @property
    def lse(self) -> Array:
        return self.log_sum if self.shift is None else self.shift + self.log_sum


class Residual(NamedTuple):
    """What backward needs beside the logits, (N,) each."""

    normaliser: Normaliser
    nll: Array | None


def cross_entropy_forward(
    logits: Array,
    targets: Array,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    z_loss: float = 0.0,
) -> tuple[Array, Residual]:
    """logits (N, classes), targets (N,) integers -> loss of each row (N,), and what backward needs.

    A row whose target is `ignore_index` has loss 0; every other target is in [0, classes).
    """
    chosen, ignored = _chosen(targets, ignore_index)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        # float32 adds and subtracts lse in float64; float64 has no wider type to do that in.
        normaliser = _normaliser(logits, certain=logits.dtype == np.float64)
        nll = _nll(logits, chosen, normaliser)
        losses = nll
        if label_smoothing:
            losses = (1.0 - label_smoothing) * nll
            losses += label_smoothing * _mean_nll(logits, normaliser)
        if z_loss:
            losses = losses + z_loss * normaliser.lse**2
    if ignored is not None:
        losses = np.where(ignored, 0.0, losses)
    return losses.astype(logits.dtype), Residual(normaliser, nll)


def cross_entropy_backward(
    g: Array,
    logits: Array,
    residual: Residual,
    targets: Array,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    z_loss: float = 0.0,
) -> Array:
    """g (N,), the gradient of each row's loss -> dlogits (N, classes), zero in ignored rows."""
    n, classes = logits.shape
    chosen, ignored = _chosen(targets, ignore_index)
    normaliser, nll = residual
    assert nll is not None
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        pull = 2.0 * z_loss * normaliser.lse if z_loss else 0.0
        dlogits = _scaled_softmax(logits, normaliser, (g * (1.0 + pull)).astype(logits.dtype))
        at_target = np.expm1(-nll) + pull * np.exp(-nll) + label_smoothing
        dlogits[np.arange(n), chosen] = g * at_target
        if label_smoothing:
            dlogits -= (g * (label_smoothing / classes))[:, None]
    if ignored is not None:
        dlogits[ignored] = 0.0
    return dlogits


def soft_cross_entropy_forward(
    logits: Array, targets: Array, z_loss: float = 0.0
) -> tuple[Array, Residual]:
    """logits, targets (N, classes) floats -> loss of each row (N,), and what backward needs."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
        normaliser = _normaliser(logits, certain=True)
        below = _below(logits, normaliser)
        below[(targets == 0) & np.isinf(below)] = 0.0  # no weight on what cannot be: no loss
        losses = row_sums(targets) * normaliser.log_sum - np.vecdot(targets, below)
        if z_loss:
            losses += z_loss * normaliser.lse**2
    return losses.astype(logits.dtype), Residual(normaliser, None)


def soft_cross_entropy_backward(
    g: Array,
    logits: Array,
    residual: Residual,
    targets: Array,
    z_loss: float = 0.0,
    needs: tuple[bool, ...] = (True, True),
) -> tuple[Array | None, Array | None]:
    """g (N,) -> dlogits and dtargets (N, classes), None where `needs` does not ask for one."""
    needs_logits, needs_targets = needs
    normaliser = residual.normaliser
    dlogits = dtargets = None
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        if needs_logits:
            weight = row_sums(targets) + 2.0 * z_loss * normaliser.lse
            dlogits = _scaled_softmax(logits, normaliser, (g * weight).astype(logits.dtype))
            dlogits -= targets * g[:, None]
        if needs_targets:
            below = _below(logits, normaliser)
            dtargets = normaliser.log_sum[:, None].astype(logits.dtype) - below
            dtargets[(targets == 0) & np.isinf(below)] = 0.0
            dtargets *= g[:, None]
    return dlogits, dtargets


def _chosen(targets: Array, ignore_index: int | None) -> tuple[Array, Array | None]:
    """Targets that are all classes, and which rows to leave out, or None if there are none."""
    if ignore_index is None:
        return targets, None
    ignored = targets == ignore_index
    return (np.where(ignored, 0, targets), ignored) if ignored.any() else (targets, None)


def _normaliser(logits: Array, *, certain: bool = False) -> Normaliser:
    """lse of each row; with `certain`, the largest term is left out of the sum and log1p puts it
    back, so that the log-probability of a nearly certain class keeps its digits."""
    n = len(logits)
    log_sum, shift, shifted = np.empty(n, np.float64), np.zeros(n, np.float64), certain
    for block in row_blocks(*logits.shape):
        rows = logits[block]
        scratch = empty(rows.shape, logits.dtype)
        if certain:
            place = np.arange(len(rows)), np.argmax(rows, axis=1)
            shift[block] = rows[place]
            np.exp(np.subtract(rows, rows[place][:, None], out=scratch), out=scratch)
            scratch[place] = 0.0
            log_sum[block] = np.log1p(row_sums(scratch).astype(np.float64))
            continue
        sums, moved = exp_and_sum(rows, scratch, normalise=False)
        log_sum[block] = np.log(sums.astype(np.float64))
        if moved is not None:
            shift[block], shifted = moved, True
    log_sum[np.isinf(shift)] = 0.0
    return Normaliser(shift if shifted else None, log_sum)


def _nll(logits: Array, targets: Array, normaliser: Normaliser) -> Array:
    """lse - x[t] (N,), float64."""
    picked = logits[np.arange(len(logits)), targets]
    wide = picked.astype(np.float64)
    shift, log_sum = normaliser
    nll = log_sum - wide if shift is None else (shift - wide) + log_sum
    sure = np.flatnonzero(nll < CERTAIN)
    if sure.size:
        others = logits[sure] - picked[sure, None]
        np.exp(others, out=others)
        others[np.arange(sure.size), targets[sure]] = 0.0
        nll[sure] = np.log1p(row_sums(others).astype(np.float64))
    return nll


def _mean_nll(logits: Array, normaliser: Normaliser) -> Array:
    """mean(lse - x) (N,), float64."""
    below = _below(logits, normaliser)
    return normaliser.log_sum - below.mean(axis=1, dtype=np.float64)


def _below(logits: Array, normaliser: Normaliser) -> Array:
    """x - shift, as a fresh array."""
    if normaliser.shift is None:
        return logits.copy()
    return logits - normaliser.shift.astype(logits.dtype)[:, None]


def _scaled_softmax(logits: Array, normaliser: Normaliser, scale: Array) -> Array:
    """scale softmax(logits), row by row."""
    probs = empty(logits.shape, logits.dtype)
    factor = (scale * np.exp(-normaliser.log_sum)).astype(logits.dtype)
    shift = None if normaliser.shift is None else normaliser.shift.astype(logits.dtype)
    for block in row_blocks(*logits.shape):
        out = probs[block]
        if shift is None:
            np.exp(logits[block], out=out)
        else:
            np.exp(np.subtract(logits[block], shift[block, None], out=out), out=out)
        out *= factor[block, None]
    return probs
