"""Glyphs: characters rendered by Pillow's own font, in styles, at any size.

A second embedded set, with two kinds of label: the character (the class) and the style (the factor
"style"). It is the same on every run with one version of Pillow and its FreeType; a figure measured
on it means something only beside its content hash.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygen.arguments import integer
from tinygen.data.images.imageset import Images, ImageSet
from tinygen.errors import UnavailableError, UsageError

DIGITS = "0123456789"
CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_OVERSAMPLING = 4  # glyphs are drawn so many times larger, moved, and averaged down


@dataclass(frozen=True)
class Style:
    """How a character is drawn.

    stroke    thickness added to every outline, a share of the picture's size
    slant     how far the top leans to the right, a share of the height (an italic has 0.2)
    turn      degrees anticlockwise
    width     horizontal stretch
    """

    name: str
    stroke: float = 0.0
    slant: float = 0.0
    turn: float = 0.0
    width: float = 1.0


_WEIGHTS = {"": 0.0, "bold": 0.02, "black": 0.04}
_SLANTS = {"": 0.0, "italic": 0.25, "backslant": -0.25}
_TURNS = {"": 0.0, "left": 12.0, "right": -12.0}

STYLES = (
    *(
        Style(" ".join(filter(None, (w, s, t))) or "regular", _WEIGHTS[w], _SLANTS[s], _TURNS[t])
        for w, s, t in itertools.product(_WEIGHTS, _SLANTS, _TURNS)
    ),
    Style("wide", width=1.2),
    Style("condensed", width=0.7),
    Style("bold wide", 0.02, width=1.2),
)


def glyphs(
    size: int = 28, characters: str = DIGITS + CAPITALS, styles: Sequence[Style] = STYLES
) -> ImageSet:
    """Every character in every style, white on black: (len(characters) len(styles), size, size, 1).

    The characters follow each other style by style. Each is scaled alike, so that a capital fills
    about 60 % of the height, and its ink is centred. Raises UsageError for what cannot be drawn,
    UnavailableError where Pillow or its font is absent.
    """
    if not 8 <= integer("glyphs: size", size) <= 512:
        raise UsageError(f"glyphs of {size} pixels: from 8 to 512")
    if not characters or not styles:
        raise UsageError("glyphs need at least one character and one style")
    for names in (characters, [style.name for style in styles]):
        if len(set(names)) < len(names):
            raise UsageError("glyphs: each character and each style once")
    font = _font(size)
    images = [_drawn(character, style, size, font) for style in styles for character in characters]
    k, s = len(characters), len(styles)
    return ImageSet(
        "glyphs",
        np.stack(images)[..., None],
        np.tile(np.arange(k), s),
        tuple(characters),
        f"{k} characters in {s} styles at {size}x{size}, drawn by {font.version}",
        licence="font: Aileron, CC0",
        factors={"style": np.repeat(np.arange(s), k)},
    )


@dataclass(frozen=True)
class _Font:
    face: Any
    image: Any  # Pillow's modules
    draw: Any
    version: str


def _font(size: int) -> _Font:
    try:
        import PIL
        from PIL import Image, ImageDraw, ImageFont, features
    except ImportError as error:
        raise UnavailableError(
            "glyphs need Pillow, which is not installed: pip install pillow"
        ) from error
    if not features.check("freetype2"):
        raise UnavailableError("glyphs need a Pillow with FreeType: pip install pillow")
    face = ImageFont.load_default(size * _OVERSAMPLING * 0.8)
    version = f"Pillow {PIL.__version__}, FreeType {features.version('freetype2')}"
    return _Font(face, Image, ImageDraw, version)


def _drawn(character: str, style: Style, size: int, font: _Font) -> Images:
    """(size, size), its ink around the middle."""
    side = size * _OVERSAMPLING
    stroke = round(style.stroke * side)
    if _is_missing(character, font):
        raise UsageError(f"Pillow's font has no {character!r}")
    left, top, right, bottom = font.face.getbbox(character, stroke_width=stroke)
    upright = font.image.new("L", (side, side))
    place = (side - left - right) / 2, (side - top - bottom) / 2
    font.draw.Draw(upright).text(place, character, 255, font.face, stroke_width=stroke)
    ink = upright.getbbox()
    if ink is None:
        raise UsageError(f"the character {character!r} leaves no ink")
    affine, bicubic = font.image.Transform.AFFINE, font.image.Resampling.BICUBIC
    moved = upright.transform((side, side), affine, _inverse(style, side, ink), bicubic)
    pixels = np.asarray(moved, np.float32).reshape(size, _OVERSAMPLING, size, _OVERSAMPLING)
    image: NDArray[np.float32] = pixels.mean((1, 3))
    return np.rint(image).astype(np.uint8)


def _inverse(style: Style, side: int, ink: tuple[int, ...]) -> tuple[float, ...]:
    """Pillow's affine data: where in the upright picture a point of the moved one comes from."""
    angle = math.radians(style.turn)
    cos, sin = math.cos(angle), math.sin(angle)
    # y downwards: anticlockwise turn times slant times stretch, about the middle
    turn = np.array([[cos, sin], [-sin, cos]])
    slant = np.array([[style.width, -style.slant], [0.0, 1.0]])
    matrix = np.linalg.inv(turn @ slant)
    left, top, right, bottom = ink
    shift = np.array([left + right, top + bottom]) / 2 - matrix @ np.full(2, side / 2)
    return (*matrix[0], shift[0], *matrix[1], shift[1])


def _is_missing(character: str, font: _Font) -> bool:
    """Whether the font draws its box for unknown characters."""
    box, own = (font.face.getmask(c) for c in ("\uffff", character))
    return bool(box.size == own.size and bytes(box) == bytes(own))
