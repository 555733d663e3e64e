"""What is done to images before and after a model: plain functions of arrays.

Images are uint8 (N, H, W, C) in the data and float32 in a model. What is random takes `rng`, or the
drawn values themselves, so that a transform can be repeated and tested.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygen.data.images.imageset import Images
from tinygen.errors import DtypeError, InputError, OutOfRangeError, ShapeError, UsageError
from tinygen.random import Generator

Floats = NDArray[np.floating[Any]]

_BELOW_ONE = np.float32(1 - 2.0**-24)

# ---- 0 ... 255 to numbers and back ---------------------------------------------------------------


def normalise(images: Images, *, signed: bool = False) -> NDArray[np.float32]:
    """v / 255 in [0, 1], or v / 127.5 - 1 in [-1, 1]: `signed`, the convention of diffusion."""
    x = _uint8(images).astype(np.float32)
    x /= np.float32(127.5 if signed else 255.0)
    if signed:
        x -= 1
    return x


def denormalise(x: Floats, *, signed: bool = False) -> Images:
    """The nearest of 0 ... 255; what lies outside [0, 1] or [-1, 1] is clipped.

    The exact inverse of `normalise`. Raises InputError where x is not finite: a picture of NaN
    would look like a picture.
    """
    if not np.isfinite(x).all():
        raise InputError(f"{_share_not_finite(x)} of the pixels are not finite: no picture of them")
    v = (x + 1) * 127.5 if signed else x * 255.0
    return np.rint(np.clip(v, 0, 255)).astype(np.uint8)


def dequantise(
    images: Images,
    rng: Generator | None = None,
    *,
    noise: Floats | None = None,
    signed: bool = False,
) -> tuple[NDArray[np.float32], float]:
    """Uniform dequantisation (Theis et al. 2016, section 3.1): a density for discrete pixels.

        x = (v + u) / 256 in [0, 1), or (v + u) / 128 - 1 in [-1, 1); u uniform in [0, 1)

    Returns x, and the nats to add to a model's log p(x) so that it bounds the probability of the
    image with all its D = H W C pixels from below (Jensen):

        log P(v) >= E_u[log p(x)] + log |dx/du|,    log |dx/du| = -D log 256, or -D log 128

    `quantise` is the exact inverse: a sum that would round up to v + 1 stays just below it.
    """
    v = _uint8(images).astype(np.float32)
    u = _drawn(v.shape, rng, noise)
    x = np.minimum(v + u, np.nextafter(v + 1, np.float32(0)))
    x *= np.float32(2.0**-7 if signed else 2.0**-8)  # exact: a power of 2
    if signed:
        # Near 0, x - 1 keeps every bit that x has; rounding may lift x only at the top.
        x = np.minimum(x - 1, _below_next(v))
    return x, -math.prod(v.shape[1:]) * math.log(128 if signed else 256)


def quantise(x: Floats, *, signed: bool = False) -> Images:
    """floor(256 x), or floor(128 (x + 1)), clipped to 0 ... 255. Raises InputError for NaN."""
    if not np.isfinite(x).all():
        raise InputError(f"{_share_not_finite(x)} of the pixels are not finite: no picture of them")
    wide = x.astype(np.float64)
    v = (wide + 1) * 128 if signed else wide * 256
    return np.clip(np.floor(v), 0, 255).astype(np.uint8)


def _below_next(v: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest float32 below (v + 1) / 128 - 1."""
    return np.nextafter((v + 1) * np.float32(2.0**-7) - 1, np.float32(-2))


def binarise(
    images: Images, rng: Generator | None = None, *, noise: Floats | None = None
) -> NDArray[np.float32]:
    """0 or 1 for each pixel: 1 with probability v / 255 (dynamic binarisation, Salakhutdinov and
    Murray 2008). `noise` is uniform in [0, 1); black and white pixels do not depend on it.
    """
    v = _uint8(images)
    u = _drawn(v.shape, rng, noise)
    return (u < v * np.float32(1 / 255)).astype(np.float32)


# ---- moving images -------------------------------------------------------------------------------


def flip(
    images: NDArray[Any], rng: Generator | None = None, *, flipped: ArrayLike | None = None
) -> NDArray[Any]:
    """Left and right exchanged in half of the images, or where `flipped` (N,) is true."""
    x = _images(images)
    if flipped is None:
        flipped = _rng(rng, "flipped").uniform(len(x)) < 0.5
    chosen = np.asarray(flipped)
    if chosen.dtype != bool or chosen.shape != (len(x),):
        raise ShapeError(f"flipped of {chosen.dtype} {chosen.shape}: bool ({len(x)},) is needed")
    return np.where(chosen[:, None, None, None], x[:, :, ::-1], x)


def crop(
    images: NDArray[Any],
    size: int | tuple[int, int],
    rng: Generator | None = None,
    *,
    padding: int = 0,
    offsets: ArrayLike | None = None,
    mode: str = "constant",
) -> NDArray[Any]:
    """A window of `size` (H', W') from each image, at a random place: (N, H', W', C).

    Before, `padding` pixels are added on all sides: zeros ("constant"), or the image mirrored at
    its edge ("reflect"). `offsets` (N, 2) are the rows and columns where the windows begin, in the
    padded image; by default every place has equal chance.
    """
    x = _images(images)
    if mode not in ("constant", "reflect"):
        raise UsageError(f"crop cannot pad by {mode!r}; it can by 'constant' and 'reflect'")
    if padding < 0 or (mode == "reflect" and padding >= min(x.shape[1:3])):
        raise UsageError(
            f"padding {padding} of images {x.shape[1:3]}: at least 0, and to reflect, "
            "less than the image"
        )
    h, w = (size, size) if isinstance(size, int) else size
    margin = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    x = np.pad(x, margin, "reflect") if mode == "reflect" else np.pad(x, margin)
    room = x.shape[1] - h, x.shape[2] - w
    if min(h, w) < 1 or min(room) < 0:
        raise UsageError(f"a window of {(h, w)} does not fit into images of {x.shape[1:3]}")
    n = len(x)
    if offsets is None:
        drawn = _rng(rng, "offsets")
        offsets = np.stack([drawn.integers(r + 1, shape=n) for r in room], axis=1)
    start = np.asarray(offsets)
    if start.shape != (n, 2) or start.dtype.kind not in "iu":
        raise ShapeError(f"offsets of {start.dtype} {start.shape}: integers ({n}, 2) are needed")
    if n and (start.min() < 0 or (start > room).any()):
        raise OutOfRangeError(f"offsets beyond 0 ... {room}, where a window {(h, w)} fits")
    rows = start[:, :1] + np.arange(h)  # (N, H')
    columns = start[:, 1:] + np.arange(w)  # (N, W')
    return x[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]


# ---- what the arguments must be ------------------------------------------------------------------


def _uint8(images: NDArray[Any]) -> Images:
    if images.dtype != np.uint8:
        raise DtypeError(f"images of {images.dtype}: uint8 is needed, as the readers give them")
    return images


def _images(images: NDArray[Any]) -> NDArray[Any]:
    if images.ndim != 4:
        raise ShapeError(f"images of shape {images.shape}: (N, H, W, C) is needed")
    return images


def _drawn(
    shape: tuple[int, ...], rng: Generator | None, noise: Floats | None
) -> NDArray[np.float32]:
    if noise is None:
        return _rng(rng, "noise").uniform(shape)
    if noise.shape != shape:
        raise ShapeError(f"noise of shape {noise.shape} for images of {shape}")
    if noise.size and not (noise.min() >= 0 and noise.max() < 1):
        raise OutOfRangeError("noise must be uniform in [0, 1)")
    return np.minimum(noise.astype(np.float32), _BELOW_ONE)  # float64 may round up to 1


def _rng(rng: Generator | None, instead: str) -> Generator:
    if rng is None:
        raise UsageError(f"give an rng to draw from, or {instead}")
    return rng


def _share_not_finite(x: Floats) -> str:
    return f"{1 - np.isfinite(x).mean():.1%}"
