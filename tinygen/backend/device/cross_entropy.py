"""Softmax cross-entropy for integer targets, by kernels/cross_entropy.cu."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinygen.backend.device.launching import (
    DTYPES,
    blocks,
    contiguous,
    has_elements,
    like,
    type_of,
    vector,
)
from tinygen.backend.device.registry import serves
from tinygen.backend.device.rungs import rung_of
from tinygen.backend.launch import Kernel, launch

Array = Any

NO_TARGET = np.iinfo(np.int64).min
"""To ignore where nothing is to be ignored."""

THREADS = 256


class Residual(NamedTuple):
    """What backward needs beside the logits, (N,) float32 each: sum of exp(x) is
    exp(shift) (1 + others)."""

    shift: Array
    others: Array
    nll: Array


@serves("cross_entropy_forward", dtypes=DTYPES, fits=has_elements)
def cross_entropy_forward(
    backend: Any,
    logits: Array,
    targets: Array,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    z_loss: float = 0.0,
) -> tuple[Array, Residual]:
    """logits (N, classes), targets (N,) integers -> loss of each row (N,), and what backward
    needs."""
    logits = contiguous(backend, logits)
    rows = len(logits)
    losses = backend.empty((rows,), logits.dtype)
    residual = Residual(*[backend.empty((rows,), np.float32) for _ in Residual._fields])
    args = [losses, *residual, logits, _classes(backend, targets)]
    options = _options(label_smoothing, z_loss, ignore_index)
    _launch(backend, "forward", logits, args, options)
    return losses, residual


@serves("cross_entropy_backward", dtypes=DTYPES, fits=has_elements)
def cross_entropy_backward(
    backend: Any,
    g: Array,
    logits: Array,
    residual: Residual,
    targets: Array,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    z_loss: float = 0.0,
) -> Array:
    """g (N,), the gradient of each row's loss -> dlogits (N, classes), zero in ignored rows."""
    logits = contiguous(backend, logits)
    dlogits = like(backend, logits)
    args = [dlogits, contiguous(backend, g), logits, *residual, _classes(backend, targets)]
    options = _options(label_smoothing, z_loss, ignore_index)
    _launch(backend, "backward", logits, args, options, dlogits)
    return dlogits


def cross_entropy_in_place(
    backend: Any,
    logits: Array,
    targets: Array,
    scale: float,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    z_loss: float = 0.0,
) -> Array:
    """The losses (N,); logits (N, classes), contiguous, become `scale` times their gradient."""
    losses = backend.empty((len(logits),), logits.dtype)
    args = [losses, logits, _classes(backend, targets)]
    options = [np.float32(scale), *_options(label_smoothing, z_loss, ignore_index)]
    _launch(backend, "in_place", logits, args, options)
    return losses


def _launch(
    backend: Any, part: str, logits: Array, args: list[Any], options: list[Any], *others: Array
) -> None:
    """A kernel of the ladder: arrays, sizes, options. `others` are accessed as the logits are."""
    rows, classes = logits.shape
    width = vector(backend, classes, logits, *others)
    fixed = {"TYPE": type_of(logits), "VECTOR": width}
    if rung_of(backend, "cross_entropy") == "naive":
        kernel = Kernel("cross_entropy.cu", f"cross_entropy_{part}_naive", **fixed)
        grid, sizes = blocks(rows, THREADS), [np.int32(rows)]
    else:
        kernel = Kernel("cross_entropy.cu", f"cross_entropy_{part}", **fixed)
        grid, sizes = rows, []
    args = [*args, *sizes, np.int32(classes), *options]
    launch(backend, kernel, (grid,), (THREADS,), args)


def _classes(backend: Any, targets: Array) -> Array:
    return contiguous(backend, targets.astype(np.int64))


def _options(label_smoothing: float, z_loss: float, ignore_index: int | None) -> list[Any]:
    ignored = NO_TARGET if ignore_index is None else ignore_index
    return [np.float32(label_smoothing), np.float32(z_loss), np.int64(ignored)]
