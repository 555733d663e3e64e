"""IDX: what is written is read, and what is damaged is never read as something else."""

import gzip
import math
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import image_set, pixels, same

from tinygen.data.images import read_idx, read_idx_images, read_mnist_folder, write_idx
from tinygen.data.images.idx import idx_array, idx_bytes
from tinygen.errors import DtypeError, InputError, OutputError, ShapeError
from tinygen.random import Generator

DTYPES = ["uint8", "int8", "int16", "int32", "float32", "float64"]


def packed(data: bytes, zipped: bool) -> bytes:
    return gzip.compress(data, mtime=0) if zipped else data


@given(
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 4), min_size=1, max_size=4),
    st.integers(0, 99),
    st.booleans(),
)
def test_what_is_written_is_read(dtype, shape, seed, zipped):
    numbers = Generator(seed).integers(-(2**31), 2**31, shape)
    array = numbers.astype(dtype)
    read = idx_array(packed(idx_bytes(array), zipped), "x")
    assert read.dtype == array.dtype
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, array)


def test_files_of_both_kinds(tmp_path):
    array = pixels(0, 3, 4, 5)
    for name in ("plain", "zipped.gz"):
        write_idx(tmp_path / name, array)
        np.testing.assert_array_equal(read_idx(tmp_path / name), array)
    assert (tmp_path / "zipped.gz").read_bytes()[:2] == b"\x1f\x8b"
    with pytest.raises(OutputError):
        write_idx(tmp_path / "missing" / "x", array)
    with pytest.raises(InputError, match="no such file"):
        read_idx(tmp_path / "missing")


def test_the_bytes_are_those_of_the_specification():
    array = np.array([[1, 2, 3], [4, 5, 600]], np.int16)
    expected = b"\0\0\x0b\x02" + struct.pack(">II", 2, 3) + struct.pack(">6h", 1, 2, 3, 4, 5, 600)
    assert idx_bytes(array) == expected


@pytest.mark.parametrize("zipped", [False, True])
def test_every_truncation_is_an_error(zipped):
    whole = packed(idx_bytes(pixels(1, 2, 3, 3)), zipped)
    for end in range(len(whole)):
        with pytest.raises(InputError):
            idx_array(whole[:end], "x")


@pytest.mark.parametrize("zipped", [False, True])
def test_every_flipped_bit_is_an_error_or_a_pixel(zipped):
    """gzip's checksum finds every flip of content; in plain IDX the header is checked."""
    array = pixels(2, 2, 2, 2)
    whole = packed(idx_bytes(array), zipped)
    for position in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            try:
                read = idx_array(bytes(damaged), "x")
            except InputError:
                continue
            if zipped:  # the time, the system and such in gzip's own header
                np.testing.assert_array_equal(read, array)
            else:
                changed = read.view(np.uint8) != array if read.shape == array.shape else None
                signed = read.dtype == np.int8  # the type byte 8 or 9: the same length
                assert changed is not None
                assert signed or changed.sum() == 1


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "begins with nothing"),
        (b"PK\3\4 is a zip archive", "no IDX file"),
        (b"\0\0\x08\0", "no IDX file"),  # no axes
        (b"\0\0\x0a\1\0\0\0\1x", "no IDX file"),  # an unknown type
        (b"\0\1\x08\1\0\0\0\1x", "no IDX file"),
        (b"\0\0\x08\3\0\0\0\1", "within its header"),
        (b"\0\0\x08\1\0\0\0\2x", "1 of the 2 bytes"),
        (b"\0\0\x08\1\0\0\0\1xy", "more than the 1 bytes"),
        (b"\0\0\x08\3" + b"\xff" * 12, "above the limit"),
        (b"\0\0\x08\3" + struct.pack(">III", 60_000, 28, 28) + b"x", "cannot hold"),
        (gzip.compress(b"\0\0\x08\1\0\0\0\1x", mtime=0) + b"rest", "is damaged"),
    ],
)
def test_lies_and_damage_are_told(data, words):
    with pytest.raises(InputError, match=words):
        idx_array(data, "x")


def test_a_gzip_bomb_takes_no_memory():
    """64 MiB of zeros behind a header of one pixel: no more than a step of it is unpacked."""
    bomb = gzip.compress(b"\0\0\x08\1\0\0\0\1" + bytes(1 << 26), 1)
    tracemalloc.start()
    with pytest.raises(InputError, match="more than the 1 bytes"):
        idx_array(bomb, "x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 23


def test_more_axes_than_numpy_has_are_refused():
    shape = (1,) * 64
    assert idx_array(idx_bytes(np.zeros(shape, np.uint8)), "x").shape == shape
    with pytest.raises(InputError, match="255 axes"):
        idx_array(b"\0\0\x08\xff" + struct.pack(">255I", *(1,) * 255) + b"x", "x")


def test_what_idx_cannot_hold_is_refused():
    with pytest.raises(DtypeError, match="no int64"):
        idx_bytes(np.zeros(3, np.int64))
    with pytest.raises(ShapeError):
        idx_bytes(np.array(3, np.uint8))


# ---- image sets


def test_images_with_and_without_labels(tmp_path):
    data = image_set(n=7, h=5, w=4)
    write_idx(tmp_path / "i", data.images[..., 0])
    write_idx(tmp_path / "l.gz", data.labels.astype(np.uint8))
    assert same(read_idx_images(tmp_path / "i", tmp_path / "l.gz", data.classes), data)
    assert read_idx_images(tmp_path / "i", tmp_path / "l.gz").classes == ("0", "1", "2")
    bare = read_idx_images(tmp_path / "i")
    assert (bare.labels, bare.classes) == (None, ())
    write_idx(tmp_path / "colour", pixels(0, 2, 3, 4, 3))
    assert read_idx_images(tmp_path / "colour").shape == (3, 4, 3)


def test_files_that_are_no_images_or_labels(tmp_path):
    write_idx(tmp_path / "i", pixels(0, 3, 4, 4))
    write_idx(tmp_path / "flat", pixels(0, 3))
    write_idx(tmp_path / "floats", np.zeros((3, 4, 4), np.float32))
    write_idx(tmp_path / "two", np.zeros(2, np.uint8))
    for images, labels in (("flat", None), ("floats", None), ("i", "i"), ("i", "two")):
        with pytest.raises(InputError):
            read_idx_images(tmp_path / images, labels and tmp_path / labels)
    with pytest.raises(InputError, match="classes"):
        read_idx_images(tmp_path / "i", tmp_path / "flat", ("only",))


def test_a_folder_with_the_names_of_mnist(tmp_path):
    train, test = image_set(0, n=6), image_set(1, n=4)
    for part, data, ending in (("train", train, ".gz"), ("t10k", test, "")):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte{ending}", data.images[..., 0])
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte{ending}", data.labels.astype(np.uint8))
    data = read_mnist_folder(tmp_path, ("a", "b", "c"))
    for ours, theirs in zip(data.split(), (train, test), strict=True):
        assert same(ours, theirs)
    assert read_mnist_folder(tmp_path).classes == ("0", "1", "2")
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError, match="lacks the t10k"):
        read_mnist_folder(tmp_path)


def test_a_product_of_axes_does_not_overflow():
    assert math.prod((2**31, 2**31, 4)) == 2**64
    with pytest.raises(InputError, match="above the limit"):
        idx_array(b"\0\0\x08\3" + struct.pack(">III", 2**31, 2**31, 4), "x")
