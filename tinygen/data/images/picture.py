"""One PNG or JPEG to pixels, through Pillow; what would lose something is refused.

mode of the file            becomes
grey, 1 or 8 bits           (H, W, 1)
RGB; palette                (H, W, 3); a palette's colours are looked up
alpha, all opaque           as without it
alpha with transparency     refused: what stands behind it is not known
CMYK                        refused: without its colour profile the colours would be guessed
16 bits and floats          refused: they do not fit into 0 ... 255
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np

from tinygen.data.images.imageset import Images
from tinygen.data.images.limits import MAX_FILE, MAX_PIXELS
from tinygen.errors import InputError, UnavailableError, UsageError

EXTENSIONS = (".png", ".jpg", ".jpeg")

_FORMATS = ("PNG", "JPEG")
_PNG = b"\x89PNG\r\n\x1a\n"


def decode_picture(data: bytes, name: str, size: tuple[int, int] | None = None) -> Images:
    """The pixels (H, W, 1) or (H, W, 3) of the picture `name`, upright as its camera says.

    With `size` (H, W) it is scaled, antialiased, until it just covers that, and cut to it around
    its middle. Raises InputError for what is damaged, too large or in the table above, and
    UnavailableError where Pillow is absent.
    """
    image_module, ops = _pillow()
    if len(data) > MAX_FILE:
        raise InputError(f"{name} has {len(data):,} bytes, above the limit of {MAX_FILE:,}")
    if data[:8] == _PNG and len(data) > 24 and data[24] == 16:  # Pillow would halve them silently
        raise InputError(f"{name} has 16 bits a channel; convert it to 8 bits")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata, and our own limit is stricter
            image_module.open(io.BytesIO(data), formats=_FORMATS).verify()  # a PNG's checksums,
            image = image_module.open(io.BytesIO(data), formats=_FORMATS)  # which loading skips
            if image.width * image.height > MAX_PIXELS:
                raise InputError(
                    f"{name} is {image.width}x{image.height}, above the limit of {MAX_PIXELS:,} "
                    "pixels"
                )
            if getattr(image, "n_frames", 1) > 1:
                raise InputError(f"{name} is an animation; keep one of its frames")
            image.load()
            image = _plain(ops.exif_transpose(image), name)
            if size is not None:
                image = ops.fit(image, size[::-1], image_module.Resampling.LANCZOS)
    except InputError:
        raise
    except image_module.UnidentifiedImageError as error:  # whose text names a buffer of ours
        raise InputError(
            f"{name} is no intact PNG or JPEG: it does not begin as one; remove or replace it"
        ) from error
    except Exception as error:  # whatever a decoder may raise on hostile bytes, it is the input
        raise InputError(
            f"{name} is no intact PNG or JPEG: {error}; remove or replace it"
        ) from error
    pixels = np.asarray(image, np.uint8)
    return pixels.reshape(image.height, image.width, -1)


def _plain(image: Any, name: str) -> Any:
    """The picture in mode L or RGB."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        grey = image.mode in ("LA", "L", "1")
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] < 255:
            raise InputError(f"{name} is partly transparent; put it on a background first")
        return image.convert("RGB").convert("L") if grey else image.convert("RGB")
    if image.mode in ("L", "RGB"):
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode == "P":
        return image.convert("RGB")
    raise InputError(f"{name} has the mode {image.mode}; convert it to RGB or grey of 8 bits")


def checked_size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """(H, W); one number stands for a square."""
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or min(pair) < 1 or pair[0] * pair[1] > MAX_PIXELS:
        raise UsageError(f"a size of {size}: one number, or height and width, from 1 pixel on")
    return pair[0], pair[1]


def _pillow() -> tuple[Any, Any]:
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise UnavailableError(
            "PNG and JPEG need Pillow, which is not installed: pip install pillow"
        ) from error
    return Image, ImageOps
