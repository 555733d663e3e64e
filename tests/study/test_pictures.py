"""Pictures: what is written is what is read back, pixel for pixel."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tinygen.errors import ShapeError, UsageError
from tinygen.random import Generator
from tinygen.study.pictures import animation, grid, png, to_uint8


def images(n: int, height: int, width: int, channels: int) -> np.ndarray:
    return (Generator(1).uniform((n, height, width, channels)) * 255).astype(np.uint8)


@given(st.integers(1, 7), st.sampled_from([1, 3]), st.integers(1, 5), st.integers(1, 3))
def test_a_grid_has_every_image_unchanged(n: int, channels: int, columns: int, scale: int) -> None:
    shown = images(n, 4, 3, channels)
    picture = grid(shown, columns, gap=1, scale=scale)
    columns = min(columns, n)
    for i in range(n):
        top, left = 1 + i // columns * (4 * scale + 1), 1 + i % columns * (3 * scale + 1)
        cell = picture[top : top + 4 * scale : scale, left : left + 3 * scale : scale]
        np.testing.assert_array_equal(cell, shown[i])


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 3)])
def test_a_png_reads_back(shape: tuple[int, ...]) -> None:
    pixels = (Generator(2).uniform(shape) * 255).astype(np.uint8)
    again = np.asarray(Image.open(io.BytesIO(png(pixels))))
    np.testing.assert_array_equal(again, pixels.reshape(again.shape))


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_an_animation_has_every_frame(kind: str) -> None:
    frames = [np.full((6, 5, 3), value, np.uint8) for value in (0, 90, 200)]
    read = Image.open(io.BytesIO(animation(frames, kind)))
    assert read.n_frames == 3
    for i, frame in enumerate(frames):
        read.seek(i)
        np.testing.assert_allclose(np.asarray(read.convert("RGB"), int), frame, atol=2)


def test_floats_are_clipped_and_rounded_and_nan_is_black() -> None:
    found = to_uint8(np.array([-1.0, 0.0, 0.5, 1.0, 7.0, np.nan]))
    assert found.tolist() == [0, 0, 128, 255, 255, 0]


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ShapeError, match="1 or 3 channels"):
        grid(np.zeros((2, 4, 4, 2)))
    with pytest.raises(ShapeError, match="at least one image"):
        grid(np.zeros((0, 4, 4, 1)))
    with pytest.raises(ShapeError, match="a picture has shape"):
        png(np.zeros((2, 2, 2, 2)))
    with pytest.raises(ShapeError, match="at least one picture"):
        animation([], "gif")
    with pytest.raises(UsageError, match="gif or a webp"):
        animation([np.zeros((2, 2))], "mp4")
