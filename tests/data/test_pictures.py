"""PNG and JPEG: alone, in folders and in zips; what would lose something is refused."""

import struct
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import (
    image_set,
    picture_files,
    pixels,
    png_bytes,
    same,
    sorted_by_class,
    write_files,
    zip_bytes,
)

from tinygen.data.images import read_image_folder, read_image_zip
from tinygen.data.images.picture import checked_size, decode_picture
from tinygen.errors import InputError, UnavailableError, UsageError

Image = pytest.importorskip("PIL.Image")


# ---- one picture


@given(st.integers(0, 99), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))
def test_a_png_is_read_exactly(seed, h, w, c):
    image = pixels(seed, h, w, c)
    picture = Image.fromarray(image[..., 0] if c == 1 else image)
    np.testing.assert_array_equal(decode_picture(png_bytes(picture), "x"), image)


def test_a_jpeg_is_read_as_it_was_written():
    smooth = np.add.outer(np.arange(16), np.arange(24)).astype(np.uint8) * 5
    read = decode_picture(png_bytes(smooth, "JPEG", quality=95), "x")
    assert read.shape == (16, 24, 1)
    assert np.abs(read[..., 0].astype(int) - smooth).max() <= 4


def test_modes_that_lose_nothing():
    grey, colour = pixels(0, 6, 5), pixels(1, 6, 5, 3)
    bits = grey > 128
    opaque = np.dstack([colour, np.full((6, 5), 255, np.uint8)])
    palette = Image.fromarray(colour).quantize(4)
    for picture, expected in (
        (Image.fromarray(bits), bits[..., None] * np.uint8(255)),
        (Image.fromarray(opaque), colour),
        (Image.merge("LA", [Image.fromarray(grey), Image.new("L", (5, 6), 255)]), grey[..., None]),
        (palette, np.asarray(palette.convert("RGB"))),
    ):
        np.testing.assert_array_equal(decode_picture(png_bytes(picture), "x"), expected)


def sixteen_bits(colour):
    """A PNG of 2 x 1 pixels with 16 bits a channel; Pillow itself would read half of each."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", 2, 1, 16, 2 if colour else 0, 0, 0, 0)
    row = b"\0" + bytes(2 * 2 * (3 if colour else 1))
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def animation():
    frames = [Image.fromarray(pixels(seed, 4, 4)) for seed in range(2)]
    return png_bytes(frames[0], save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no intact PNG or JPEG"),
        (b"GIF89a and so on", "no intact PNG or JPEG"),
        (png_bytes(pixels(0, 4, 4), "GIF"), "no intact PNG or JPEG"),
        (png_bytes(Image.new("CMYK", (4, 4)), "JPEG"), "the mode CMYK"),
        (png_bytes(Image.new("RGBA", (4, 4), (1, 2, 3, 254))), "partly transparent"),
        (png_bytes(Image.new("LA", (4, 4), (1, 0))), "partly transparent"),
        (png_bytes(Image.new("P", (4, 4)), transparency=0), "partly transparent"),
        (sixteen_bits(colour=True), "16 bits"),
        (sixteen_bits(colour=False), "16 bits"),
        (animation(), "an animation"),
    ],
)
def test_what_would_lose_something_is_refused(data, words):
    with pytest.raises(InputError, match=words):
        decode_picture(data, "x")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_every_truncation_is_an_error_or_loses_nothing(kind):
    """Pillow needs no more than the last pixel: a PNG may lack its closing bytes."""
    image = pixels(0, 6, 5, 3)
    whole = png_bytes(image, kind)
    expected = decode_picture(whole, "x")
    errors = 0
    for end in range(len(whole)):
        try:
            np.testing.assert_array_equal(decode_picture(whole[:end], "x"), expected)
        except InputError:
            errors += 1
    assert errors >= len(whole) - 20


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_flipped_bytes_give_pictures_or_errors_of_ours(kind):
    """A PNG has checksums: it gives its own picture or none. A JPEG has not."""
    image = pixels(0, 16, 16, 3)
    image[:8] = 0  # which is packed, so that a bit may stand for many pixels
    whole = png_bytes(image, kind)
    expected = decode_picture(whole, "x")
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        try:
            read = decode_picture(bytes(damaged), "x")
        except InputError:
            continue
        assert read.dtype == np.uint8
        assert read.shape[2] in (1, 3)
        if kind == "PNG":
            np.testing.assert_array_equal(read, expected)


def test_a_decompression_bomb_is_refused_before_it_unpacks(monkeypatch):
    """A few kilobytes of PNG that would unpack to 10,000 x 10,000 pixels."""
    bomb = png_bytes(Image.new("1", (10_000, 10_000)))
    assert len(bomb) < 20_000
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("it was unpacked"))
    with pytest.raises(InputError, match="10000x10000, above the limit"):
        decode_picture(bomb, "x")
    with pytest.raises(InputError, match="above the limit"):
        decode_picture(bytes((1 << 28) + 1), "x")


def test_a_picture_is_upright_as_its_camera_says():
    image = pixels(0, 3, 5, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: 90 degrees clockwise to see it upright
    np.testing.assert_array_equal(
        decode_picture(png_bytes(image, exif=exif), "x"), np.rot90(image, -1)
    )


def test_a_size_covers_and_cuts_around_the_middle():
    image = np.zeros((10, 30, 1), np.uint8)
    image[:, 10:20] = 200  # the middle third is all that a square has of it
    assert (decode_picture(png_bytes(image), "x", (10, 10)) == 200).all()
    half = decode_picture(png_bytes(image), "x", (5, 15))
    assert half.shape == (5, 15, 1)
    assert half[:, 6:9].min() >= 190
    assert half[:, [0, -1]].max() <= 10
    assert checked_size(4) == checked_size((4, 4)) == (4, 4)
    for wrong in (0, (4, -1), (4, 4, 4), 1 << 14):
        with pytest.raises(UsageError):
            checked_size(wrong)


def test_without_pillow_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UnavailableError, match="pip install pillow"):
        decode_picture(b"", "x")


# ---- folders and zips


def both(tmp_path, files):
    """The set of the files as a folder and as a zip, which are equal."""
    folder = write_files(tmp_path / "folder", files)
    (tmp_path / "x.zip").write_bytes(zip_bytes(files))
    a, b = read_image_folder(folder), read_image_zip(tmp_path / "x.zip")
    assert same(a, b)
    assert (a.n_train, a.skipped) == (b.n_train, b.skipped)
    return a


def fails_both(tmp_path, files, words):
    folder = write_files(tmp_path / "folder", files)
    (tmp_path / "x.zip").write_bytes(zip_bytes(files))
    for call in (lambda: read_image_folder(folder), lambda: read_image_zip(tmp_path / "x.zip")):
        with pytest.raises(InputError, match=words):
            call()


@pytest.mark.parametrize("channels", [1, 3])
def test_class_folders(tmp_path, channels):
    data = image_set(n=7, c=channels)
    assert same(both(tmp_path, picture_files(data)), sorted_by_class(data))


def test_parts_with_class_folders(tmp_path):
    data = image_set(n=9, k=3, n_train=6)
    read = both(tmp_path, picture_files(data, parts=True))
    assert read.n_train == 6
    for ours, theirs in zip(read.split(), data.split(), strict=True):
        assert same(ours, sorted_by_class(theirs))


def test_a_folder_around_everything_does_not_count(tmp_path):
    data = image_set(n=6, n_train=3)
    for parts in (False, True):
        files = picture_files(data, parts)
        plain = both(tmp_path / f"plain{parts}", files)
        assert same(both(tmp_path / f"in{parts}", {f"a/b/{k}": v for k, v in files.items()}), plain)


def test_pictures_without_classes(tmp_path):
    data = image_set(n=4)
    bare = type(data)("bare", data.images, None, (), "a test")
    assert same(both(tmp_path / "flat", picture_files(bare)), bare)
    files = {
        f"{'test' if i == 1 else 'Train'}/{k}": v
        for i, (k, v) in enumerate(picture_files(bare).items())
    }
    read = both(tmp_path / "parts", files)
    assert (read.labels, read.n_train) == (None, 3)
    np.testing.assert_array_equal(read.images, data.images[[0, 2, 3, 1]])


def test_beside_a_test_part_a_validation_part_trains(tmp_path):
    images = pixels(0, 3, 4, 4)
    names = ("test/a/0.png", "val/a/0.png", "train/a/0.png")
    files = {name: png_bytes(image) for name, image in zip(names, images, strict=True)}
    read = both(tmp_path / "three", files)
    assert read.n_train == 2
    np.testing.assert_array_equal(read.images[..., 0], images[[2, 1, 0]])
    del files["test/a/0.png"]
    read = both(tmp_path / "two", files)
    assert read.n_train == 1
    np.testing.assert_array_equal(read.images[..., 0], images[[2, 1]])
    del files["train/a/0.png"]
    assert both(tmp_path / "one", files).n_train is None


def test_what_is_no_picture_is_skipped_and_named(tmp_path):
    data = image_set(n=3)
    files = picture_files(data) | {
        "a/notes.txt": b"x",
        "a/.hidden.png": b"x",
        "__MACOSX/a/0000.png": b"x",
    }
    if not sys.platform.startswith("darwin"):
        folder = write_files(tmp_path, {k: v for k, v in files.items() if "MACOSX" not in k})
        assert read_image_folder(folder).skipped == ("a/notes.txt: no PNG or JPEG",)
    (tmp_path / "x.zip").write_bytes(zip_bytes(files))
    read = read_image_zip(tmp_path / "x.zip")
    assert same(read, sorted_by_class(data))
    assert read.skipped == ("a/notes.txt: no PNG or JPEG",)


def test_grey_pictures_among_coloured_ones_become_coloured(tmp_path):
    grey, colour = pixels(0, 4, 4), pixels(1, 4, 4, 3)
    read = both(tmp_path, {"0.png": png_bytes(grey), "1.png": png_bytes(colour)})
    np.testing.assert_array_equal(read.images[0], np.repeat(grey[..., None], 3, axis=2))
    np.testing.assert_array_equal(read.images[1], colour)


def test_sizes_that_differ_need_a_size(tmp_path):
    files = {"0.png": png_bytes(pixels(0, 4, 6)), "1.png": png_bytes(pixels(0, 8, 6))}
    fails_both(tmp_path, files, r"0\.png is 6x4, 1\.png is 6x8; give a size")
    for read in (
        read_image_folder(tmp_path / "folder", size=4),
        read_image_zip(tmp_path / "x.zip", size=(4, 4)),
    ):
        assert read.images.shape == (2, 4, 4, 1)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "no PNG or JPEG"),
        (["notes.txt"], r"1 other files, first notes\.txt"),
        (["0.png", "a/0.png"], "different depths"),
        (["a/b/0.png", "c/d/0.png"], "a part is train or test"),
        (["a/b/c/0.png", "a/c/d/0.png", "b/c/d/1.png"], "a part is train or test"),
    ],
)
def test_layouts_that_are_none(tmp_path, names, words):
    (tmp_path / "folder").mkdir()
    fails_both(tmp_path, dict.fromkeys(names, png_bytes(pixels(0, 4, 4))), words)


def test_a_damaged_picture_is_named(tmp_path):
    files = picture_files(image_set(n=4))
    name = sorted(files)[2]
    files[name] = files[name][:40]
    fails_both(tmp_path, files, f"{name} is no intact PNG or JPEG")
    files[name] = b"damaged" + files[name]
    fails_both(tmp_path, files, f"{name} is no intact PNG or JPEG: it does not begin")


def test_too_much_is_refused(tmp_path, monkeypatch):
    files = picture_files(image_set(n=8, h=8, w=8))
    monkeypatch.setattr("tinygen.data.images.folder.MAX_BYTES", 8 * 64 - 1)
    fails_both(tmp_path, files, "give a smaller size")
    monkeypatch.setattr("tinygen.data.images.folder.MAX_FILE", 10)
    with pytest.raises(InputError, match="above the limit"):
        read_image_zip(tmp_path / "x.zip")


def test_a_missing_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_image_folder(tmp_path / "missing")
    with pytest.raises(InputError, match="no such file"):
        read_image_zip(tmp_path / "missing.zip")


def test_every_truncation_of_a_zip_is_an_error(tmp_path):
    whole = zip_bytes(picture_files(image_set(n=2)))
    path = tmp_path / "x.zip"
    for end in range(0, len(whole), 3):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError):
            read_image_zip(path)
