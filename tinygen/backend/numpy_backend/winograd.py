"""Winograd's convolution F(4x4, 3x3) and F(4x4, 2x2), for a quarter of the products.

The output is cut into tiles of 4x4. A correlation of r taps along one side of a tile, written as

    y = A^T [ (G w) * (B^T d) ]         d the a = 4 + r - 1 inputs under the tile

takes a products instead of 4 r (Winograd 1980); nested for rows and columns a^2 instead of 16 r^2,
36 for 144 with r = 3 and 25 for 64 with r = 2. Summed over channels, the products of all tiles at
one of the a^2 places are a product of matrices (Lavin and Gray 2016, algorithm 1). With
U = G w G^T, V = B^T d B and M = V U the three passes are

    y = A^T M A         dx = B (dM U^T) B^T, added up where tiles overlap, with dM = A g A^T
                        dw = G^T (V^T dM) G

each the exact adjoint of the others. A kernel of 2r x 2r with stride 2 is one of r x r over an
image of half the sides, whose pixels are the 2x2 blocks of the first; the views that read and write
tiles see it so. Errors are some ten times those of the direct sum, hence for float32 only.
"""

from collections.abc import Iterator
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygen.backend.geometry import Geometry, Pair
from tinygen.backend.numpy_backend.aligned import empty
from tinygen.backend.numpy_backend.array import Array
from tinygen.backend.numpy_backend.product import SMALL, matmul

TILE = 4
"""Output rows and columns of a tile."""

TILES = 64
"""Tiles worked through at a time, at most: what a block needs then stays in the cache."""

POINTS = (0.0, 1.0, -1.0, 2.0, -2.0)
"""Where the polynomials are evaluated, infinity besides; r = 2 needs one less."""


def winograd_forward(
    x: Array, weight: Array, bias: Array | None, size: Pair, geometry: Geometry
) -> Array:
    """x (N, H, W, C), weight (O, k, k, C) -> y (N, *size, O)."""
    maps = _maps(weight.shape[1] // geometry.stride[0])
    kernels = _kernels(weight, maps, geometry)  # (a^2, s^2 C, O), s the stride
    y = empty((len(x), *size, len(weight)), x.dtype)
    blocks = list(_blocks(len(x), size))
    one, two = _memory(2, blocks, kernels)
    for block in blocks:
        places = _inputs(x, block, maps, geometry, one, two)  # (a^2, tiles, s^2 C)
        products = matmul(places, kernels, _in(two, (*places.shape[:2], len(weight))))
        if bias is not None:  # both points are 1 at this place, which every output holds once
            products[maps.a + 1] += bias
        _write(y, block, _both_sides(maps.A, products, two, one))
    return y


def winograd_input_gradient(
    g: Array, weight: Array, bias: Array | None, size: Pair, geometry: Geometry
) -> Array:
    """g (N, P, Q, O), weight (O, k, k, C) -> dx (N, *size, C)."""
    if geometry.stride == (1, 1):  # then it is a convolution too, which need not add up overlaps
        (top, left), k = geometry.padding, weight.shape[1]
        flipped = weight[:, ::-1, ::-1].transpose(3, 1, 2, 0)
        padding = k - 1 - top, k - 1 - left
        return winograd_forward(g, flipped, bias, size, Geometry(padding=padding))
    maps = _maps(weight.shape[1] // geometry.stride[0])
    kernels = _kernels(weight, maps, geometry, adjoint=True)  # (a^2, O, s^2 C)
    dx = empty((len(g), *size, weight.shape[3]), g.dtype)
    if geometry.sides_before(g.shape[1:3], weight.shape[1:3]) != size:
        dx[...] = 0  # the last rows or columns were never read
    blocks = list(_blocks(len(g), g.shape[1:3]))
    one, two = _memory(2, blocks, kernels)
    for block in blocks:
        places = _gradients(g, block, maps, one, two)  # (a^2, tiles, O)
        products = matmul(places, kernels, _in(two, (*places.shape[:2], kernels.shape[2])))
        _add_up(dx, block, _both_sides(maps.B.T, products, two, one), maps, geometry, one)
    if bias is not None:
        dx += bias
    return dx


def winograd_weight_gradient(x: Array, g: Array, size: Pair, geometry: Geometry) -> Array:
    """x (N, H, W, C), g (N, P, Q, O) -> dweight (O, *size, C)."""
    s, outputs, channels = geometry.stride[0], g.shape[3], x.shape[3]
    maps = _maps(size[0] // s)
    sums = np.zeros((maps.a**2, outputs, s * s * channels), x.dtype)
    products = empty(sums.shape, x.dtype)
    blocks = list(_blocks(len(x), g.shape[1:3]))
    one, two, three = _memory(3, blocks, sums)
    for block in blocks:
        places = _inputs(x, block, maps, geometry, one, two)  # (a^2, tiles, s^2 C)
        grads = _gradients(g, block, maps, three, two)  # (a^2, tiles, O)
        first = block is blocks[0]
        matmul(grads.transpose(0, 2, 1), places, sums if first else products)
        if not first:
            sums += products
    taps = _both_sides(maps.G.T, sums, sums.reshape(-1), products.reshape(-1))
    taps = taps.reshape(maps.r, maps.r, outputs, s, s, channels)
    taps = taps.transpose(2, 0, 3, 1, 4, 5)  # (O, r, s, r, s, C)
    return np.ascontiguousarray(taps).reshape(outputs, *size, channels)


# ---- the maps ------------------------------------------------------------------------------------


class Maps(NamedTuple):
    """The three matrices of y = A [ (G w) * (B d) ]; the docstring's A^T and B^T are A and B."""

    A: Array  # (4, a)
    B: Array  # (a, a)
    G: Array  # (a, r)

    @property
    def a(self) -> int:
        return len(self.B)

    @property
    def r(self) -> int:
        return self.G.shape[1]


@lru_cache(maxsize=8)
def _maps(r: int) -> Maps:
    """Multiplication of polynomials by their values at a - 1 points and infinity (Toom and Cook),
    transposed: a correlation is the adjoint of a multiplication."""
    a = TILE + r - 1
    points = np.array(POINTS[: a - 1])
    A, B, G = np.zeros((TILE, a)), np.zeros((a, a)), np.zeros((a, r))
    for k, p in enumerate(points):
        others = np.delete(points, k)
        A[:, k] = p ** np.arange(TILE)
        B[k, :-1] = np.poly(others)[::-1]
        G[k] = p ** np.arange(r) / np.prod(p - others)
    A[-1, -1] = G[-1, -1] = 1.0
    B[-1] = np.poly(points)[::-1]
    return Maps(*(np.ascontiguousarray(m, np.float32) for m in (A, B, G)))


def _both_sides(matrix: Array, places: Array, memory: Array, spare: Array) -> Array:
    """matrix P matrix^T for the square of places P, (rows columns, ...) -> (rows', columns', n).

    As two batches of narrow products: half the time of one with the Kronecker product. The result
    lies in `memory`, where P may lie too.
    """
    after, before = matrix.shape
    places = places.reshape(before, before, -1)
    n = places.shape[2]
    half, result = _in(spare, (before, after, n)), _in(memory, (after, after, n))
    width = max(1, SMALL // matrix.size)
    parts = [slice(start, start + width) for start in range(0, n, width)]
    for part in parts:
        np.matmul(matrix, places[:, :, part], out=half[:, :, part])
    for part in parts:
        across = half[:, :, part].transpose(1, 0, 2)
        np.matmul(matrix, across, out=result[:, :, part].transpose(1, 0, 2))
    return result


def _kernels(weight: Array, maps: Maps, geometry: Geometry, adjoint: bool = False) -> Array:
    """U of the weight (O, k, k, C): (a^2, s^2 C, O), or transposed for the adjoint."""
    s, r = geometry.stride[0], maps.r
    outputs, inputs = weight.shape[0], s * s * weight.shape[3]
    taps = weight.reshape(outputs, r, s, r, s, weight.shape[3])
    taps = np.ascontiguousarray(
        taps.transpose((1, 3, 0, 2, 4, 5) if adjoint else (1, 3, 2, 4, 5, 0))
    )
    one, two = (empty((maps.a**2 * outputs * inputs,), weight.dtype) for _ in range(2))
    kernels = _both_sides(maps.G, taps.reshape(r * r, -1), one, two)
    return kernels.reshape(maps.a**2, *((outputs, inputs) if adjoint else (inputs, outputs)))


# ---- tiles ---------------------------------------------------------------------------------------


class Block(NamedTuple):
    """Some images, whole, or some rows of tiles of a single image."""

    images: slice
    first: int  # row of tiles
    shape: tuple[int, int, int]  # images, rows of tiles, columns of tiles


def _blocks(N: int, size: Pair) -> Iterator[Block]:
    """Blocks of about `TILES` tiles that cover the output rows and columns of all images."""
    rows, columns = -(-size[0] // TILE), -(-size[1] // TILE)
    images = max(1, _even(N, TILES // (rows * columns)))
    step = rows if images > 1 else _even(rows, TILES // columns)
    for n in range(0, N, images):
        run = slice(n, min(n + images, N))
        for row in range(0, rows, step):
            yield Block(run, row, (run.stop - run.start, min(step, rows - row), columns))


def _even(total: int, most: int) -> int:
    """The size of parts of `total`, at most `most` and at least one, that come out alike."""
    parts = -(-total // max(1, most))
    return -(-total // max(1, parts))


def _memory(count: int, blocks: list[Block], kernels: Array) -> list[Array]:
    """Flat arrays in each of which the places of any block have room: written to over and over
    they stay in the cache."""
    tiles = max((prod(block.shape) for block in blocks), default=0)
    room = len(kernels) * tiles * max(kernels.shape[1:])
    return [empty((room,), kernels.dtype) for _ in range(count)]


def _in(memory: Array, shape: tuple[int, ...]) -> Array:
    return memory[: prod(shape)].reshape(shape)


def _inputs(
    x: Array, block: Block, maps: Maps, geometry: Geometry, memory: Array, spare: Array
) -> Array:
    """V = B d B^T of a block: (a^2, tiles, s^2 C)."""
    s, (top, left) = geometry.stride[0], geometry.padding
    n, rows, columns = block.shape
    sides = (TILE * rows + maps.r - 1) * s, (TILE * columns + maps.r - 1) * s
    under = _cut(x[block.images], (TILE * s * block.first - top, -left), sides, spare)
    windows = _windows(under, block, maps, s)  # (a, a, n, rows, columns, s, s, C)
    d = _in(memory, windows.shape)
    np.copyto(d, windows)
    return _both_sides(maps.B, d, memory, spare).reshape(maps.a**2, n * rows * columns, -1)


def _gradients(g: Array, block: Block, maps: Maps, memory: Array, spare: Array) -> Array:
    """dM = A^T g A of a block: (a^2, tiles, O)."""
    n, rows, columns = block.shape
    sides = TILE * rows, TILE * columns
    under = _cut(g[block.images], (TILE * block.first, 0), sides, spare)
    under = under.reshape(n, rows, TILE, columns, TILE, -1).transpose(2, 4, 0, 1, 3, 5)
    tiles = _in(memory, under.shape)
    np.copyto(tiles, under)
    places = _both_sides(maps.A.T, tiles, memory, spare)
    return places.reshape(maps.a**2, n * rows * columns, -1)


def _write(y: Array, block: Block, tiles: Array) -> None:
    """The tiles (4, 4, ...) of a block to their places in y."""
    n, rows, columns = block.shape
    tiles = tiles.reshape(TILE, TILE, n, rows, columns, -1).transpose(2, 3, 0, 4, 1, 5)
    first = TILE * block.first
    target = y[block.images, first : first + TILE * rows]
    if target.shape[1:3] == (TILE * rows, TILE * columns):
        target.reshape(tiles.shape, copy=False)[...] = tiles
    else:
        whole = tiles.reshape(n, TILE * rows, TILE * columns, -1)
        target[...] = whole[:, : target.shape[1], : target.shape[2]]


def _add_up(
    dx: Array, block: Block, d: Array, maps: Maps, geometry: Geometry, memory: Array
) -> None:
    """The gradients (a, a, ...) of the inputs under each tile, added where tiles overlap."""
    s, (top, left) = geometry.stride[0], geometry.padding
    n, rows, columns = block.shape
    overlap = (maps.r - 1) * s
    height, width = TILE * s * rows + overlap, TILE * s * columns + overlap
    sums = _in(memory, (n, height, width, dx.shape[3]))
    sums[:, height - overlap :] = 0
    sums[:, :, width - overlap :] = 0
    windows = _windows(sums, block, maps, s)
    d = d.reshape(windows.shape)
    inner, edge = slice(None, TILE), slice(TILE, None)
    windows[inner, inner] = d[inner, inner]
    for part in ((inner, edge), (edge, inner), (edge, edge)):
        windows[part] += d[part]
    # Into dx, whose first row lies `top` below that of the image's first tile.
    start = TILE * s * block.first - top
    low, high = max(start, 0), min(start + height, dx.shape[1])
    if low < high:
        shared = min(low if block.first == 0 else max(low, start + overlap), high)
        right = min(dx.shape[2], width - left)
        target = dx[block.images, :, :right]
        target[:, low:shared] += sums[:, low - start : shared - start, left : left + right]
        target[:, shared:high] = sums[:, shared - start : high - start, left : left + right]


def _windows(under: Array, block: Block, maps: Maps, s: int) -> Array:
    """The view (a, a, n, rows, columns, s, s, C) of what lies under each tile of a block."""
    n, h, w, c = under.strides
    shape = (maps.a, maps.a, *block.shape, s, s, under.shape[3])
    return as_strided(under, shape, (s * h, s * w, n, TILE * s * h, TILE * s * w, h, w, c))


def _cut(x: Array, start: Pair, sides: Pair, memory: Array) -> Array:
    """Rows and columns of x (n, H, W, C) from `start` on, zeros where x has none."""
    (i, j), (height, width) = start, sides
    if min(i, j) >= 0 and i + height <= x.shape[1] and j + width <= x.shape[2]:
        return x[:, i : i + height, j : j + width]
    piece = _in(memory, (len(x), height, width, x.shape[3]))
    low, high = min(max(-i, 0), height), max(min(x.shape[1] - i, height), 0)
    near, far = min(max(-j, 0), width), max(min(x.shape[2] - j, width), 0)
    piece[:, :low] = 0
    piece[:, high:] = 0
    piece[:, low:high, :near] = 0
    piece[:, low:high, far:] = 0
    piece[:, low:high, near:far] = x[:, low + i : high + i, near + j : far + j]
    return piece
