"""Transforms of images: exact inverses on all 256 values, and draws that are what they say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import pixels

from tinygen.data.images import (
    binarise,
    crop,
    denormalise,
    dequantise,
    flip,
    normalise,
    quantise,
)
from tinygen.errors import DtypeError, InputError, OutOfRangeError, ShapeError, UsageError
from tinygen.random import Generator

ALL = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
EXTREMES = [0.0, 2.0**-24, 2.0**-10, 0.5, 1 - 2.0**-9, 1 - 2.0**-24]

# ---- numbers


@pytest.mark.parametrize(("signed", "low"), [(False, 0.0), (True, -1.0)])
def test_normalise_and_denormalise_are_inverse(signed, low):
    x = normalise(ALL, signed=signed)
    assert x.dtype == np.float32
    assert (x.min(), x.max()) == (low, 1.0)
    np.testing.assert_array_equal(denormalise(x, signed=signed), ALL)
    exact = ALL / (127.5 if signed else 255.0) + low
    assert np.abs(x - exact).max() <= 2.0**-24


@pytest.mark.parametrize("signed", [False, True])
def test_what_lies_outside_is_clipped_and_what_lies_between_is_rounded(signed):
    x = np.array([-5.0, 1e30, 0.5004], np.float32)
    if signed:
        x[2] = 2 * x[2] - 1
    assert denormalise(x, signed=signed).tolist() == [0, 255, 128]
    nudged = normalise(ALL, signed=signed) + np.float32(0.4 / 255)
    np.testing.assert_array_equal(denormalise(nudged, signed=signed)[:, :-1], ALL[:, :-1])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("back", [denormalise, quantise])
def test_there_is_no_picture_of_what_is_not_finite(value, back):
    with pytest.raises(InputError, match=r"25\.0% of the pixels are not finite"):
        back(np.array([0.1, value, 0.2, 0.3], np.float32))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("u", EXTREMES)
def test_quantise_undoes_dequantise_for_every_value_and_noise(signed, u):
    x, log_det = dequantise(ALL, noise=np.full(ALL.shape, u, np.float32), signed=signed)
    assert x.dtype == np.float32
    low = -1.0 if signed else 0.0
    assert low <= x.min()
    assert x.max() < 1
    np.testing.assert_array_equal(quantise(x, signed=signed), ALL)
    width = 128 if signed else 256
    assert log_det == -256 * math.log(width)
    exact = (ALL + u) / width + low
    assert np.abs(x - exact).max() <= 2.0**-23


def test_the_correction_turns_a_density_into_a_probability():
    """Under p(x) = 1 on [0, 1)^D each of the 256^D images has probability 256^-D."""
    images = pixels(0, 3, 2, 2, 1)
    _, log_det = dequantise(images, Generator(0))
    assert abs(math.exp(0.0 + log_det) - 256.0**-4) <= 1e-20
    _, signed = dequantise(images, Generator(0), signed=True)
    assert abs(math.exp(-4 * math.log(2) + signed) - 256.0**-4) <= 1e-20  # p = 1/2 on [-1, 1)


def test_dequantised_pixels_are_uniform_within_their_step():
    images = np.full((1, 200, 200, 1), 77, np.uint8)
    u = dequantise(images, Generator(0))[0] * 256 - 77
    counts = np.histogram(u, bins=20, range=(0, 1))[0]
    assert counts.sum() == 40_000
    assert ((counts - 2000) ** 2 / 2000).sum() <= 19 + 6 * math.sqrt(2 * 19)


def test_black_and_white_stay_and_grey_is_drawn():
    black, white = np.zeros((1, 8, 8, 1), np.uint8), np.full((1, 8, 8, 1), 255, np.uint8)
    for u in EXTREMES:
        noise = np.full(black.shape, u, np.float32)
        assert (binarise(black, noise=noise) == 0).all()
        assert (binarise(white, noise=noise) == 1).all()
    n = 40_000
    for v in (1, 51, 204):
        drawn = binarise(np.full((n, 1, 1, 1), v, np.uint8), Generator(v))
        assert drawn.dtype == np.float32
        assert set(np.unique(drawn)) == {0.0, 1.0}
        p = v / 255
        assert abs(drawn.mean() - p) <= 6 * math.sqrt(p * (1 - p) / n)


def test_equal_streams_draw_equally():
    images = pixels(0, 4, 6, 6, 3)
    for call in (
        lambda rng: binarise(images, rng),
        lambda rng: dequantise(images, rng)[0],
        lambda rng: flip(images, rng),
        lambda rng: crop(images, 4, rng),
    ):
        np.testing.assert_array_equal(call(Generator(3)), call(Generator(3)))
        draws = [call(Generator(seed)).tobytes() for seed in range(8)]
        assert len(set(draws)) > 1


# ---- moving


@given(st.lists(st.booleans(), min_size=1, max_size=5), st.integers(1, 4), st.integers(1, 5))
def test_flipping_is_by_image_and_its_own_inverse(flipped, h, w):
    images = pixels(1, len(flipped), h, w, 2)
    once = flip(images, flipped=flipped)
    for image, result, turned in zip(images, once, flipped, strict=True):
        for x in range(w):
            expected = image[:, w - 1 - x] if turned else image[:, x]
            np.testing.assert_array_equal(result[:, x], expected)
    np.testing.assert_array_equal(flip(once, flipped=flipped), images)
    assert once.dtype == np.uint8


def test_half_of_the_images_are_flipped():
    images = np.zeros((20_000, 1, 2, 1), np.uint8)
    images[:, :, 1] = 1
    share = flip(images, Generator(0))[:, 0, 0, 0].mean()
    assert abs(share - 0.5) <= 6 * math.sqrt(0.25 / 20_000)


@given(st.integers(0, 99), st.integers(1, 5), st.integers(1, 5), st.integers(0, 2), st.booleans())
def test_a_crop_is_the_window_at_its_offset(seed, h, w, padding, reflect):
    rng, n = Generator(seed), 3
    images = pixels(seed, n, h, w, 2)
    reflect = reflect and padding < min(h, w)
    size = (int(rng.integers(1, h + 1)), int(rng.integers(1, w + 1)))
    room = np.array([h + 2 * padding - size[0], w + 2 * padding - size[1]])
    offsets = np.stack([rng.integers(r + 1, shape=n) for r in room], axis=1)
    mode = "reflect" if reflect else "constant"
    result = crop(images, size, padding=padding, offsets=offsets, mode=mode)
    assert result.shape == (n, *size, 2)
    for i in range(n):
        for r in range(size[0]):
            for c in range(size[1]):
                y, x = offsets[i] + [r, c] - padding
                if reflect:
                    y, x = (abs(v) if v < m else 2 * (m - 1) - v for v, m in ((y, h), (x, w)))
                inside = 0 <= y < h and 0 <= x < w
                expected = images[i, y, x] if inside else [0, 0]
                np.testing.assert_array_equal(result[i, r, c], expected)


def test_crops_are_drawn_from_all_places_alike():
    images = np.zeros((9000, 2, 2, 1), np.uint8)
    images[:] = [[[0], [1]], [[2], [3]]]
    drawn = crop(images, 2, Generator(0), padding=1)
    places, counts = np.unique(drawn.reshape(9000, 4), axis=0, return_counts=True)
    assert len(places) == 9  # one more zero on each side: 3 x 3 places, all different
    assert ((counts - 1000) ** 2 / 1000).sum() <= 8 + 6 * math.sqrt(2 * 8)


def test_floats_are_moved_too():
    x = normalise(pixels(0, 2, 4, 4, 1), signed=True)
    assert crop(x, 3, Generator(0)).dtype == flip(x, Generator(0)).dtype == np.float32


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: normalise(np.zeros((1, 2, 2, 1))), DtypeError, "uint8 is needed"),
        (lambda: binarise(np.zeros((1, 2, 2, 1), np.float32)), DtypeError, "uint8 is needed"),
        (lambda: binarise(ALL), UsageError, "an rng to draw from, or noise"),
        (lambda: flip(ALL), UsageError, "or flipped"),
        (lambda: crop(ALL, 4), UsageError, "or offsets"),
        (lambda: binarise(ALL, noise=np.zeros((1, 2))), ShapeError, "noise of shape"),
        (lambda: binarise(ALL, noise=np.ones(ALL.shape)), OutOfRangeError, r"\[0, 1\)"),
        (lambda: dequantise(ALL, noise=-np.ones(ALL.shape)), OutOfRangeError, r"\[0, 1\)"),
        (lambda: dequantise(ALL, noise=np.full(ALL.shape, np.nan)), OutOfRangeError, r"\[0, 1\)"),
        (lambda: flip(ALL[0], Generator(0)), ShapeError, r"\(N, H, W, C\)"),
        (lambda: flip(ALL, flipped=[True, False]), ShapeError, r"bool \(1,\)"),
        (lambda: flip(ALL, flipped=[1]), ShapeError, "bool"),
        (lambda: crop(ALL, 17, Generator(0)), UsageError, "does not fit"),
        (lambda: crop(ALL, 0, Generator(0)), UsageError, "does not fit"),
        (lambda: crop(ALL, 4, Generator(0), padding=-1), UsageError, "padding -1"),
        (lambda: crop(ALL, 4, Generator(0), padding=16, mode="reflect"), UsageError, "padding 16"),
        (lambda: crop(ALL, 4, Generator(0), mode="wrap"), UsageError, "'wrap'"),
        (lambda: crop(ALL, 4, offsets=[[0, 0], [0, 0]]), ShapeError, r"\(1, 2\)"),
        (lambda: crop(ALL, 4, offsets=[[0.0, 0.0]]), ShapeError, "integers"),
        (lambda: crop(ALL, 4, offsets=[[0, 13]]), OutOfRangeError, "offsets beyond"),
        (lambda: crop(ALL, 4, offsets=[[-1, 0]]), OutOfRangeError, "offsets beyond"),
    ],
)
def test_what_cannot_be_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_noise_just_below_one_that_rounds_up_to_it_is_still_below():
    """float64 noise of 1 - 2^-40 becomes 1 in float32: it is drawn, so it is taken as below 1."""
    noise = np.full(ALL.shape, 1 - 2.0**-40)
    np.testing.assert_array_equal(quantise(dequantise(ALL, noise=noise)[0]), ALL)
    assert binarise(ALL, noise=noise)[0, -1, -1, 0] == 1
