"""SwiGLU (Shazeer 2020, arXiv:2002.05202, eq. 6), y = silu(gate) up, in cache-sized blocks.

Nothing is kept: backward makes silu(gate) and its derivative again, which costs an exponential an
element; keeping them would cost two activations' worth of memory in every layer.
"""

from math import prod

import numpy as np

from tinygen.backend.numpy_backend.activation import BLOCK, activation_of_blocks
from tinygen.backend.numpy_backend.aligned import empty
from tinygen.backend.numpy_backend.array import Array


def swiglu_forward(gate: Array, up: Array) -> Array:
    """gate, up (...) of any strides -> (...); halves of one array are read where they lie."""
    y = empty(gate.shape, gate.dtype)
    (gates, ups, ys), step, size = _in_blocks(gate, up, y)
    apply = activation_of_blocks("silu", gate.dtype, size)
    for start in range(0, len(gates), step):
        part = slice(start, start + step)
        apply(np.ascontiguousarray(gates[part]).reshape(-1), ys[part].reshape(-1), None)
        ys[part] *= ups[part]
    return y


def swiglu_backward(
    g: Array, gate: Array, up: Array, needs: tuple[bool, ...]
) -> tuple[Array | None, Array | None]:
    """(dgate, dup) = (g up silu'(gate), g silu(gate)), None where `needs` does not ask for one."""
    dgate, dup = (empty(gate.shape, gate.dtype) if need else None for need in needs)
    kept = [a for a in (dgate, dup) if a is not None]
    (gs, gates, ups, *results), step, size = _in_blocks(g, gate, up, *kept)
    apply = activation_of_blocks("silu", gate.dtype, size)
    value, slope = empty((2, size), gate.dtype)
    for start in range(0, len(gates), step):
        part = slice(start, start + step)
        x = np.ascontiguousarray(gates[part]).reshape(-1)
        apply(x, value[: x.size], slope[: x.size] if needs[0] else None)
        targets = iter(results)
        for need, factor in zip(needs, (slope, value), strict=True):
            if need:
                out = next(targets)[part]
                np.multiply(gs[part], factor[: x.size].reshape(out.shape), out=out)
        if needs[0]:
            results[0][part] *= ups[part]
    return dgate, dup


def _in_blocks(*arrays: Array) -> tuple[list[Array], int, int]:
    """Arrays of one shape as vectors, if they lie so in memory, else as matrices; what a block of
    their first axis is, and its elements."""
    shape = arrays[0].shape
    if all(a.flags.c_contiguous for a in arrays):
        flat = [a.reshape(-1) for a in arrays]
        step = min(BLOCK, flat[0].size)
        return flat, max(1, step), step
    columns = shape[-1]
    rows = [a.reshape(prod(shape[:-1]), columns) for a in arrays]
    step = max(1, min(BLOCK // max(1, columns), len(rows[0])))
    return rows, step, step * columns
