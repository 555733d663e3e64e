"""Depthwise convolution, of one input channel a group: products of shifted images, tap by tap.

Such a kernel has no sum over channels that a product of matrices could take. Each tap multiplies
the image, shifted, by one number a channel; images are taken a few at a time, so that what is added
up stays in the cache. With m outputs a channel, all three passes see an axis of m.
"""

from collections.abc import Iterator

import numpy as np

from tinygen.backend.geometry import Geometry, Pair
from tinygen.backend.numpy_backend.aligned import empty
from tinygen.backend.numpy_backend.array import Array
from tinygen.backend.numpy_backend.rows import as_rows, column_sums

BLOCK = 1 << 16
"""Elements of the output worked on at a time, about."""


def depthwise_forward(
    x: Array, weight: Array, bias: Array | None, size: Pair, geometry: Geometry
) -> Array:
    """x (N, H, W, C), weight (C m, kh, kw, 1) -> y (N, *size, C m)."""
    channels, kernel = x.shape[3], weight.shape[1:3]
    y = empty((len(x), *size, len(weight)), x.dtype)
    parts = y.reshape(*y.shape[:3], channels, len(weight) // channels)
    for images in _runs(len(x), y):
        padded = _padded(x[images], geometry)
        sums = np.zeros(parts[images].shape, x.dtype)
        product = np.empty_like(sums)
        for i, j in np.ndindex(kernel):
            window = padded[_window(i, j, size, geometry)][..., None]
            sums += np.multiply(window, weight[:, i, j].reshape(channels, -1), out=product)
        parts[images] = sums
    if bias is not None:
        y += bias
    return y


def depthwise_input_gradient(
    g: Array, weight: Array, bias: Array | None, size: Pair, geometry: Geometry
) -> Array:
    """g (N, P, Q, C m), weight (C m, kh, kw, 1) -> dx (N, *size, C)."""
    channels, kernel, (top, left) = geometry.groups, weight.shape[1:3], geometry.padding
    dx = empty((len(g), *size, channels), g.dtype)
    parts = g.reshape(*g.shape[:3], channels, len(weight) // channels)
    for images in _runs(len(g), g):
        sums = np.zeros((len(g[images]), size[0] + 2 * top, size[1] + 2 * left, channels), g.dtype)
        for i, j in np.ndindex(kernel):
            taps = weight[:, i, j].reshape(channels, -1)
            window = sums[_window(i, j, g.shape[1:3], geometry)]
            for m in range(taps.shape[1]):
                window += parts[images][..., m] * taps[:, m]
        dx[images] = sums[:, top : top + size[0], left : left + size[1]]
    if bias is not None:
        dx += bias
    return dx


def depthwise_weight_gradient(x: Array, g: Array, size: Pair, geometry: Geometry) -> Array:
    """x (N, H, W, C), g (N, P, Q, C m) -> dweight (C m, *size, 1)."""
    channels = x.shape[3]
    dweight = np.zeros((*size, g.shape[3]), x.dtype)
    parts = g.reshape(*g.shape[:3], channels, g.shape[3] // channels)
    for images in _runs(len(x), g):
        padded = _padded(x[images], geometry)
        product = empty(parts[images].shape, x.dtype)
        for i, j in np.ndindex(size):
            window = padded[_window(i, j, g.shape[1:3], geometry)][..., None]
            np.multiply(parts[images], window, out=product)
            dweight[i, j] += column_sums(as_rows(product.reshape(*product.shape[:3], -1)))
    return np.ascontiguousarray(dweight.transpose(2, 0, 1))[..., None]


def _runs(N: int, like: Array) -> Iterator[slice]:
    """Runs of images, each with about `BLOCK` elements of an array like `like`."""
    step = max(1, BLOCK // max(1, like[0].size)) if N else 1
    for n in range(0, N, step):
        yield slice(n, min(n + step, N))


def _padded(x: Array, geometry: Geometry) -> Array:
    top, left = geometry.padding
    return np.pad(x, ((0, 0), (top, top), (left, left), (0, 0))) if top or left else x


def _window(i: int, j: int, size: Pair, geometry: Geometry) -> tuple[slice, ...]:
    """What tap (i, j) reads of a padded image at each of `size` positions."""
    (sh, sw), _, (dh, dw), _ = geometry
    rows = slice(i * dh, i * dh + (size[0] - 1) * sh + 1, sh)
    return slice(None), rows, slice(j * dw, j * dw + (size[1] - 1) * sw + 1, sw)
