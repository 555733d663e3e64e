"""Cross-entropy of x W^T and its gradients, some rows at a time: never are all logits there.

With N tokens and V classes the logits, and their gradient, are the largest arrays of a language
model. Nothing else needs them: the gradients of a block are made while its logits are there.
"""

from __future__ import annotations

import numpy as np

from tinygen.backend.numpy_backend.aligned import empty
from tinygen.backend.numpy_backend.array import Array
from tinygen.backend.numpy_backend.cross_entropy import (
    cross_entropy_backward,
    cross_entropy_forward,
)
from tinygen.backend.numpy_backend.rows import row_blocks

BLOCK = 1 << 21
"""Elements of the logits that are taken together: enough rows for a fast product."""


def linear_cross_entropy(
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
    dx = empty(x.shape, x.dtype) if needs[0] else None
    dweight = np.zeros(weight.shape, x.dtype) if needs[1] and not len(x) else None
    options = label_smoothing, ignore_index, z_loss
    total = 0.0
    for block in row_blocks(len(x), len(weight), BLOCK):
        rows, classes = x[block], targets[block]
        logits = rows @ weight.T
        losses, residual = cross_entropy_forward(logits, classes, *options)
        total += losses.sum(dtype=np.float64)
        if not any(needs):
            continue
        ones = np.ones(len(rows), x.dtype)
        dlogits = cross_entropy_backward(ones, logits, residual, classes, *options)
        if dx is not None:
            np.matmul(dlogits, weight, out=dx[block])
        if needs[1]:
            product = dlogits.T @ rows
            dweight = product if dweight is None else np.add(dweight, product, out=dweight)
    return np.asarray(total, x.dtype), dx, dweight
