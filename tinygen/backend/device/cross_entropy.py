"""Softmax cross-entropy for integer targets, by kernels/cross_entropy.cu: one block a row."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinygen.backend.device.launching import (
    DTYPES,
    contiguous,
    has_elements,
    like,
    type_of,
    vector,
)
from tinygen.backend.device.registry import serves
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
    args += _options(logits, label_smoothing, ignore_index, z_loss)
    kernel = _kernel(backend, "cross_entropy_forward", logits)
    launch(backend, kernel, (rows,), (THREADS,), args)
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
    args += _options(logits, label_smoothing, ignore_index, z_loss)
    kernel = _kernel(backend, "cross_entropy_backward", logits, dlogits)
    launch(backend, kernel, (len(logits),), (THREADS,), args)
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
    rows, classes = logits.shape
    losses = backend.empty((rows,), logits.dtype)
    _, *options = _options(logits, label_smoothing, ignore_index, z_loss)
    args = [losses, logits, _classes(backend, targets), np.int32(classes), np.float32(scale)]
    kernel = _kernel(backend, "cross_entropy_in_place", logits)
    launch(backend, kernel, (rows,), (THREADS,), [*args, *options])
    return losses


def _kernel(backend: Any, name: str, logits: Array, *others: Array) -> Kernel:
    width = vector(backend, logits.shape[1], logits, *others)
    return Kernel("cross_entropy.cu", name, TYPE=type_of(logits), VECTOR=width)


def _classes(backend: Any, targets: Array) -> Array:
    return contiguous(backend, targets.astype(np.int64))


def _options(
    logits: Array, label_smoothing: float, ignore_index: int | None, z_loss: float
) -> list[Any]:
    ignored = NO_TARGET if ignore_index is None else ignore_index
    smoothing, z = np.float32(label_smoothing), np.float32(z_loss)
    return [np.int32(logits.shape[1]), smoothing, z, np.int64(ignored)]
