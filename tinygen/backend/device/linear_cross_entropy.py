"""Cross-entropy of x W^T and its gradients, some rows at a time, by kernels: the gradient of a
block's logits takes their place."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.backend.device.cross_entropy import cross_entropy_in_place
from tinygen.backend.device.launching import DTYPES, contiguous, has_elements
from tinygen.backend.device.matmul import matmul
from tinygen.backend.device.registry import serves

Array = Any

LOGITS = 1 << 28
"""Elements of the logits that exist at a time: 5,000 rows of 50,000 classes, 1 GB in float32."""


@serves("linear_cross_entropy", dtypes=DTYPES, fits=has_elements)
def linear_cross_entropy(
    backend: Any,
    x: Array,
    weight: Array,
    targets: Array,
    needs: tuple[bool, ...],
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    z_loss: float = 0.0,
) -> tuple[Array, Array | None, Array | None]:
    """x (N, C), weight (V, C), targets (N,) -> the sum of the rows' losses, and its gradients
    (dx, dweight), None where `needs` does not ask for one."""
    xp = backend.xp
    x, weight = contiguous(backend, x), contiguous(backend, weight)
    dx = backend.empty(x.shape, x.dtype) if needs[0] else None
    dweight = None
    step = max(1, LOGITS // len(weight))
    losses = []
    for start in range(0, len(x), step):
        rows, classes = x[start : start + step], targets[start : start + step]
        logits = matmul(backend, rows, weight.T).c
        options = label_smoothing, ignore_index, z_loss
        losses.append(cross_entropy_in_place(backend, logits, classes, 1.0, *options))
        if dx is not None:
            dx[start : start + step] = matmul(backend, logits, weight).c
        if needs[1]:
            dweight = matmul(backend, logits.T, rows, residual=dweight).c
    total = xp.concatenate(losses).sum(dtype=np.float32).astype(x.dtype)
    return total, dx, dweight
