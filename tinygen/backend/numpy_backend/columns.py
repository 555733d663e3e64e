"""Convolution of any geometry as products of matrices, one block of images at a time.

Each output position has a *column*: the inputs under its kernel, in the order of the weight. With
the columns of a block as the rows of a matrix, the three passes of a convolution are

    y = columns W^T        dW = g^T columns        columns of dx = g W, added up where they overlap

A block's columns are made, used and forgotten while they lie in the cache; made for the whole batch
at once they would be kh kw times the image in memory, and the passes 1.4-1.8 times slower.
"""

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygen.backend.geometry import Geometry, Pair
from tinygen.backend.numpy_backend.aligned import empty
from tinygen.backend.numpy_backend.array import Array
from tinygen.backend.numpy_backend.product import matmul
from tinygen.backend.numpy_backend.rows import as_rows

BLOCK = 1 << 20
"""Bytes of columns in a block."""


class Block(NamedTuple):
    """Some images, whole, or some output rows of a single image."""

    images: slice
    rows: slice

    def sizes(self) -> Pair:
        return self.images.stop - self.images.start, self.rows.stop - self.rows.start


def columns_forward(
    x: Array, weight: Array, bias: Array | None, size: Pair, geometry: Geometry
) -> Array:
    """x (N, H, W, C), weight (O, kh, kw, C/groups) -> y (N, *size, O)."""
    y = empty((len(x), *size, len(weight)), x.dtype)
    kernels = np.ascontiguousarray(_by_group(weight, geometry.groups).swapaxes(1, 2))
    for block, columns in _gathered(x, weight.shape[1:3], size, geometry):
        for group, kernel in enumerate(kernels):  # (kh kw C/groups, O/groups)
            _product(columns[group], kernel, _part(y, block, group, geometry.groups))
        if bias is not None:
            y[block] += bias
    return y


def columns_weight_gradient(x: Array, g: Array, size: Pair, geometry: Geometry) -> Array:
    """x (N, H, W, C), g (N, P, Q, O) -> dweight (O, *size, C/groups)."""
    groups, (outputs, channels) = geometry.groups, (g.shape[3], x.shape[3])
    width = channels // groups
    sums = np.zeros((groups, prod(size) * width, outputs // groups), x.dtype)
    scratch = empty(sums.shape[1:], x.dtype)
    for block, columns in _gathered(x, size, g.shape[1:3], geometry):
        for group, kernel in enumerate(sums):
            part = _part(g, block, group, groups)
            kernel += np.matmul(columns[group].T, as_rows(part), out=scratch)
    return np.ascontiguousarray(sums.swapaxes(1, 2)).reshape(outputs, *size, width)


def columns_input_gradient(
    g: Array, weight: Array, bias: Array | None, size: Pair, geometry: Geometry
) -> Array:
    """g (N, P, Q, O), weight (O, kh, kw, C/groups) -> dx (N, *size, C)."""
    (top, left), groups = geometry.padding, geometry.groups
    kh, kw, width = weight.shape[1:]
    dx = empty((len(g), *size, width * groups), g.dtype)
    kernels = _by_group(weight, groups)
    padded = [n + 2 * p for n, p in zip(size, geometry.padding, strict=True)]
    for images, blocks in _blocks(len(g), g.shape[1:3], kh * kw * width * groups, g.itemsize):
        sums = np.zeros((images.stop - images.start, *padded, width * groups), g.dtype)
        for block in blocks:
            target = _windows(sums, (kh, kw), g.shape[1:3], geometry)[:, block.rows]
            for group, kernel in enumerate(kernels):
                part = as_rows(_part(g, block, group, groups))
                columns = empty((len(part), kernel.shape[1]), g.dtype)
                columns = matmul(part, kernel, columns).reshape(*target.shape[:5], width)
                channels = slice(group * width, (group + 1) * width)
                for i, j in np.ndindex(kh, kw):  # one tap's windows never overlap each other
                    target[:, :, :, i, j, channels] += columns[:, :, :, i, j]
        inner = sums[:, top : top + size[0], left : left + size[1]]
        dx[images] = inner if bias is None else np.add(inner, bias, out=inner)
    return dx


# ---- blocks --------------------------------------------------------------------------------------


def _blocks(N: int, size: Pair, width: int, itemsize: int) -> Iterator[tuple[slice, list[Block]]]:
    """Runs of images, each with the blocks it is worked through in: all its rows at once where
    their columns have about `BLOCK` bytes, else some rows at a time."""
    rows, row_bytes = size[0], max(1, size[1] * width * itemsize)
    images = max(1, BLOCK // max(1, rows * row_bytes))
    step = rows if images > 1 else max(1, min(rows, BLOCK // row_bytes))
    for n in range(0, N, images):
        run = slice(n, min(n + images, N))
        starts = range(0, rows, max(1, step))
        yield run, [Block(run, slice(r, min(r + step, rows))) for r in starts]


def _gathered(
    x: Array, kernel: Pair, size: Pair, geometry: Geometry
) -> Iterator[tuple[Block, Array]]:
    """Every block with its columns (groups, positions, kh kw C/groups), in memory used again."""
    (top, left), groups = geometry.padding, geometry.groups
    N, H, W, C = x.shape
    width = C // groups
    memory = padded = None
    for run, blocks in _blocks(N, size, kernel[0] * kernel[1] * C, x.itemsize):
        images = x[run]
        if top or left:
            if padded is None:
                padded = np.zeros((len(images), H + 2 * top, W + 2 * left, C), x.dtype)
            padded[: len(images), top : top + H, left : left + W] = images
            images = padded[: len(images)]
        windows = _windows(images, kernel, size, geometry)
        for block in blocks:
            n, rows = block.sizes()
            shape = (groups, n, rows, size[1], *kernel, width)
            if memory is None:
                memory = empty((prod(shape),), x.dtype)
            columns = memory[: prod(shape)].reshape(shape)
            if groups == 1:
                np.copyto(columns[0], windows[:, block.rows])
            else:
                parts = windows[:, block.rows].reshape(*shape[1:6], groups, width)
                np.copyto(columns, np.moveaxis(parts, 5, 0))
            yield block, columns.reshape(groups, n * rows * size[1], -1)


def _windows(x: Array, kernel: Pair, size: Pair, geometry: Geometry) -> Array:
    """The view (N, P, Q, kh, kw, C) of a padded x: what lies under each tap at each position."""
    (sh, sw), (dh, dw) = geometry.stride, geometry.dilation
    n, h, w, c = x.strides
    shape = (len(x), *size, *kernel, x.shape[3])
    return as_strided(x, shape, (n, h * sh, w * sw, h * dh, w * dw, c))


def _by_group(weight: Array, groups: int) -> Array:
    """(O, kh, kw, C/groups) -> (groups, O/groups, kh kw C/groups)."""
    rows = weight.shape[0] // groups
    return weight.reshape(groups, rows, prod(weight.shape[1:]))


def _part(y: Array, block: Block, group: int, groups: int) -> Array:
    """The channels of one group at the positions of a block."""
    width = y.shape[3] // groups
    return y[block.images, block.rows, :, group * width : (group + 1) * width]


def _product(a: Array, b: Array, out: Array) -> None:
    """out (n, rows, Q, width) = a b, written in place where the positions of `out` are one axis."""
    try:
        flat = out.reshape(-1, out.shape[3], copy=False)
    except ValueError:
        out[...] = (a @ b).reshape(out.shape)
    else:
        matmul(a, b, flat)
