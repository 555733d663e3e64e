"""Differentiable augmentation (Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient
GAN Training").

D sees T(x) instead of x, real or generated, in its own step *and* in the generator's; gradients
flow through T. So D cannot learn a small data set by heart, and T does not leak into the samples.
Each T is drawn for every example; the drawn numbers can be given in its place.

    brightness    x + b                            b ~ U(-1/2, 1/2)
    translation   x moved by whole pixels, zeros following      up to 1/8 of each side
    cutout        x times 0 in a square            half of each side, anywhere
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from tinygen import ops
from tinygen.arguments import number
from tinygen.backend import Array, backend_of
from tinygen.errors import ShapeError, UsageError
from tinygen.function import Value
from tinygen.random import Generator as Random
from tinygen.tensor import device_of


def brightness(x: Value, shift: Array) -> Any:
    """x (N, H, W, C) + shift (N,), the same for all values of an image."""
    return x + shift.reshape(-1, 1, 1, 1)


def translation(x: Value, offsets: Array) -> Any:
    """Image n moved down by offsets[n, 0] rows and right by offsets[n, 1] columns, whole numbers of
    either sign; zeros come in.

    Each axis is a product with a matrix of zeros and ones, S[i, j] = 1 where j = i - offset, whose
    transpose is the derivative; a product with it is exact.
    """
    n, h, w, c = x.shape
    rows = _shift_matrix(offsets[:, 0], h, x.dtype)  # (N, H, H)
    columns = _shift_matrix(offsets[:, 1], w, x.dtype)  # (N, W, W)
    x = ops.reshape(ops.matmul(rows, ops.reshape(x, (n, h, w * c))), (n, h, w, c))
    return ops.matmul(columns[:, None], x)  # (N, 1, W, W) @ (N, H, W, C)


def cutout(x: Value, corners: Array, size: tuple[int, int]) -> Any:
    """0 in the rectangle of `size` (rows, columns) whose upper left pixel is corners[n] in image n;
    what lies outside of the image is left out."""
    _, h, w, _ = x.shape
    xp = backend_of([corners]).xp
    inside = []
    for axis, side in enumerate((h, w)):
        place = xp.arange(side) - corners[:, axis, None]  # (N, side): 0 at the corner
        inside.append((place >= 0) & (place < size[axis]))
    hole = inside[0][:, :, None] & inside[1][:, None, :]  # (N, H, W)
    return x * (~hole[..., None]).astype(x.dtype)


class Draws(NamedTuple):
    """What one application of `DiffAugment` uses; None leaves a transformation out."""

    shift: Array | None  # (N,) float
    offsets: Array | None  # (N, 2) integers
    corners: Array | None  # (N, 2) integers


@dataclass(frozen=True)
class DiffAugment:
    """T(x) for images x (N, H, W, C): `DiffAugment()(x, rng=rng)`; 0 leaves a part out."""

    brightness: float = 0.5
    """Half the width of the range of b, in the units of x."""
    translation: float = 0.125
    """The farthest move, as a part of each side."""
    cutout: float = 0.5
    """Sides of the hole, as a part of the image's."""

    def __post_init__(self) -> None:
        for name in ("brightness", "translation", "cutout"):
            most = math.inf if name == "brightness" else 1
            number(f"DiffAugment: {name}", getattr(self, name), least=0, most=most)

    def __call__(self, x: Value, *, rng: Random | None = None, draws: Draws | None = None) -> Any:
        """x augmented by `draws`, or by what `rng` draws. Arrays and Tensors alike."""
        if x.ndim != 4:
            raise ShapeError(f"DiffAugment: x has shape {x.shape}; it is (N, H, W, C).")
        if draws is None:
            if rng is None:
                raise UsageError("DiffAugment: give the random generator, rng=..., or draws=...")
            draws = self.draw(x.shape, x.dtype, rng, device_of(x))
        if draws.shift is not None:
            x = brightness(x, draws.shift)
        if draws.offsets is not None:
            x = translation(x, draws.offsets)
        if draws.corners is not None:
            x = cutout(x, draws.corners, self._hole(x.shape))
        return x

    def draw(self, shape: tuple[int, ...], dtype: Any, rng: Random, device: str = "cpu") -> Draws:
        """The random numbers of one application to x of that shape."""
        n, h, w, _ = shape
        shift = offsets = corners = None
        if self.brightness:
            shift = rng.uniform((n,), -self.brightness, self.brightness, dtype, device)
        if self.translation:
            most = [int(self.translation * side + 0.5) for side in (h, w)]
            offsets = _whole([(-m, m + 1) for m in most], n, rng, device)
        if self.cutout:
            hole = self._hole(shape)  # its centre lies anywhere in the image
            ranges = [(-(k // 2), s - k // 2) for k, s in zip(hole, (h, w), strict=True)]
            corners = _whole(ranges, n, rng, device)
        return Draws(shift, offsets, corners)

    def _hole(self, shape: tuple[int, ...]) -> tuple[int, int]:
        return int(self.cutout * shape[1] + 0.5), int(self.cutout * shape[2] + 0.5)


def _whole(ranges: list[tuple[int, int]], n: int, rng: Random, device: str) -> Array:
    """(n, 2) integers, column i in the i-th range [low, high)."""
    columns = [rng.integers(low, high, (n,), device=device) for low, high in ranges]
    return backend_of(columns).xp.stack(columns, axis=1)


def _shift_matrix(offset: Array, side: int, dtype: Any) -> Array:
    """(N, side, side) with 1 at [n, i, i - offset[n]]."""
    xp = backend_of([offset]).xp
    i = xp.arange(side)
    return (i[:, None] - i == offset[:, None, None]).astype(dtype)
