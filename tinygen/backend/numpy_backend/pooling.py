"""Pooling of (N, H, W, C): one vector operation for each place in the window, over all windows.

    max       y = max of the window; what is kept is which place it came from, one byte mostly
    average   y = sum of the window / size, along one axis after the other

Nothing is padded: places outside the image are left out of the slices.
"""

from collections.abc import Iterator

import numpy as np

from tinygen.backend.geometry import Pair
from tinygen.backend.numpy_backend.array import Array
from tinygen.backend.numpy_backend.rows import row_blocks

BLOCK = 131072
"""Elements of the images that are taken together."""


def pooled_size(size: int, kernel: int, stride: int, padding: int) -> int:
    return (size + 2 * padding - kernel) // stride + 1


def places(size: int, kernel: int, stride: int, padding: int) -> Iterator[tuple[int, slice, slice]]:
    """For each place in a window: the windows in which it lies inside the axis, and where."""
    windows = pooled_size(size, kernel, stride, padding)
    for place in range(kernel):
        first = max(0, -((place - padding) // stride))
        last = min(windows, (size - 1 - place + padding) // stride + 1)
        if first < last:
            start = first * stride + place - padding
            stop = start + (last - first - 1) * stride + 1
            yield place, slice(first, last), slice(start, stop, stride)


def max_pool_forward(x: Array, kernel: Pair, stride: Pair, padding: Pair) -> tuple[Array, Array]:
    """x (N, H, W, C) -> y (N, H', W', C), and the place in its window of the first maximum."""
    N, H, W, C = x.shape
    sizes = list(zip((H, W), kernel, stride, padding, strict=True))
    shape = (N, *(pooled_size(*size) for size in sizes), C)
    y = np.full(shape, -np.inf, x.dtype)
    # A window of -inf alone has its maximum at its first place inside the image.
    rows, columns = (
        np.maximum(p - s * np.arange(n), 0)
        for n, s, p in zip(shape[1:3], stride, padding, strict=True)
    )
    place = np.zeros(shape, np.min_scalar_type(kernel[0] * kernel[1] - 1))
    place[...] = (rows[:, None] * kernel[1] + columns)[:, :, None]
    for block in row_blocks(N, H * W * C, BLOCK):
        for i, to_rows, from_rows in places(*sizes[0]):
            for j, to_columns, from_columns in places(*sizes[1]):
                candidate = x[block, from_rows, from_columns]
                best = y[block, to_rows, to_columns]
                larger = candidate > best
                np.copyto(place[block, to_rows, to_columns], i * kernel[1] + j, where=larger)
                np.maximum(best, candidate, out=best)
    return y, place


def max_pool_backward(
    g: Array, place: Array, size: Pair, kernel: Pair, stride: Pair, padding: Pair
) -> Array:
    """dx (N, *size, C): each g at the place that its maximum came from."""
    sizes = list(zip(size, kernel, stride, padding, strict=True))
    dx = np.zeros((g.shape[0], *size, g.shape[-1]), g.dtype)
    for block in row_blocks(len(g), dx.size // max(len(g), 1), BLOCK):
        for i, to_rows, rows in places(*sizes[0]):
            for j, to_columns, columns in places(*sizes[1]):
                here = place[block, to_rows, to_columns] == i * kernel[1] + j
                dx[block, rows, columns] += g[block, to_rows, to_columns] * here
    return dx


def avg_pool(x: Array, kernel: Pair, stride: Pair, padding: Pair, count_include_pad: bool) -> Array:
    """x (N, H, W, C) -> y (N, H', W', C)."""
    size = x.shape[1:3]
    for axis in (1, 2):
        n, k, s, p = size[axis - 1], kernel[axis - 1], stride[axis - 1], padding[axis - 1]
        shape = list(x.shape)
        shape[axis] = pooled_size(n, k, s, p)
        y = np.zeros(shape, x.dtype)
        for _, to, source in places(n, k, s, p):
            y[_at(axis, to)] += x[_at(axis, source)]
        x = y
    x /= _counts(size, kernel, stride, padding, count_include_pad).astype(x.dtype)
    return x


def avg_pool_adjoint(
    g: Array, size: Pair, kernel: Pair, stride: Pair, padding: Pair, count_include_pad: bool
) -> Array:
    """g (N, H', W', C) -> dx (N, *size, C): each g, divided, to every place of its window."""
    g = g / _counts(size, kernel, stride, padding, count_include_pad).astype(g.dtype)
    for axis in (2, 1):
        n, k, s, p = size[axis - 1], kernel[axis - 1], stride[axis - 1], padding[axis - 1]
        shape = list(g.shape)
        shape[axis] = n
        dx = np.zeros(shape, g.dtype)
        for _, to, source in places(n, k, s, p):
            dx[_at(axis, source)] += g[_at(axis, to)]
        g = dx
    return g


def _at(axis: int, places: slice) -> tuple[slice, ...]:
    return (slice(None),) * axis + (places,)


def _counts(size: Pair, kernel: Pair, stride: Pair, padding: Pair, include_pad: bool) -> Array:
    """(H', W', 1): how many places each window is divided by."""
    if include_pad:
        return np.full((1, 1, 1), kernel[0] * kernel[1])
    inside = []
    for sizes in zip(size, kernel, stride, padding, strict=True):
        count = np.zeros(pooled_size(*sizes), int)
        for _, to, _ in places(*sizes):
            count[to] += 1
        inside.append(count)
    return np.multiply.outer(*inside)[:, :, None]
