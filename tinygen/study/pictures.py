"""Arrays as pictures: PNG files, grids, and animations of a sampler's steps (through Pillow).

Images are (N, H, W, C) or (N, H, W), floats in [0, 1] (clipped) or uint8; C is 1 or 3.
"""

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygen.errors import ShapeError, UnavailableError, UsageError

Array = NDArray[Any]
ANIMATED = ("gif", "webp")
_MILLISECONDS = 60  # a frame
_LAST_MILLISECONDS = 1500


def to_uint8(images: Array) -> Array:
    """Floats in [0, 1] as 0 ... 255, rounded; uint8 as it is. NaN becomes 0."""
    if images.dtype == np.uint8:
        return images
    clean = np.nan_to_num(np.asarray(images, np.float64), nan=0.0)
    return np.rint(np.clip(clean, 0.0, 1.0) * 255.0).astype(np.uint8)


def grid(images: Array, columns: int | None = None, *, gap: int = 1, scale: int = 1) -> Array:
    """One picture (H', W', C) of all images, row by row, `scale` pixels a pixel, `gap` between.

    `columns` is by default what makes the grid nearly square.
    """
    images = _with_channels(images)
    n, height, width, channels = images.shape
    if n == 0:
        raise ShapeError("a grid needs at least one image, and there is none.")
    columns = min(n, columns or math.ceil(math.sqrt(n)))
    rows = math.ceil(n / columns)
    tall, wide = height * scale + gap, width * scale + gap
    picture = np.full((rows * tall + gap, columns * wide + gap, channels), 128, np.uint8)
    for i, image in enumerate(to_uint8(images)):
        top, left = gap + (i // columns) * tall, gap + (i % columns) * wide
        enlarged = image.repeat(scale, axis=0).repeat(scale, axis=1)
        picture[top : top + height * scale, left : left + width * scale] = enlarged
    return picture


def points_picture(points: Array, extent: float, *, side: int = 320) -> Array:
    """Points (N, 2) with |x|, |y| <= extent as dark dots on white, (side, side, 1), y upwards; a
    pixel is darker the more points it has."""
    if points.ndim != 2 or points.shape[1] != 2:
        raise ShapeError(f"points have shape (N, 2), not {points.shape}.")
    place = np.floor((np.asarray(points, np.float64) / extent + 1) * side / 2)
    inside = (np.isfinite(place) & (place >= 0) & (place < side)).all(axis=1)
    columns, rows = place[inside].astype(int).T
    counts = np.zeros((side, side))
    np.add.at(counts, (side - 1 - rows, columns), 1.0)
    return to_uint8(np.exp(-0.7 * counts)[..., None])


def png(picture: Array) -> bytes:
    """One picture (H, W, C) or (H, W) as a PNG file."""
    buffer = io.BytesIO()
    _image(picture).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def animation(pictures: Sequence[Array], kind: str) -> bytes:
    """Pictures (H, W, C) one after the other, as a looping "gif" or "webp" file."""
    if kind not in ANIMATED:
        raise UsageError(f"an animation is a {' or a '.join(ANIMATED)} file, not {kind!r}")
    if not pictures:
        raise ShapeError("an animation needs at least one picture, and there is none.")
    first, *others = [_image(picture) for picture in pictures]
    durations = [_MILLISECONDS] * len(others) + [_LAST_MILLISECONDS]
    buffer = io.BytesIO()
    options: dict[str, Any] = {"lossless": True} if kind == "webp" else {}
    first.save(
        buffer,
        format=kind.upper(),
        save_all=True,
        append_images=others,
        duration=durations,
        loop=0,
        **options,
    )
    return buffer.getvalue()


def _image(picture: Array) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise UnavailableError(
            "pictures need the package Pillow, which is not installed: pip install pillow"
        ) from error
    pixels = to_uint8(np.asarray(picture))
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim != 2 and (pixels.ndim != 3 or pixels.shape[-1] != 3):
        raise ShapeError(
            f"a picture has shape (H, W), (H, W, 1) or (H, W, 3), not {np.shape(picture)}."
        )
    return Image.fromarray(pixels)


def _with_channels(images: Array) -> Array:
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ShapeError(
            f"images have shape (N, H, W, C) with 1 or 3 channels, not {np.shape(images)}."
        )
    return images
