"""NumPy archives: arrays in, arrays out, and never a pickle."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import image_set, pixels, same, zip_bytes

from tinygen.data.images import read_npz, write_npz
from tinygen.data.images.npz import npy_array
from tinygen.errors import InputError


def npy_bytes(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def write(path, **arrays):
    path.write_bytes(zip_bytes({f"{name}.npy": npy_bytes(a) for name, a in arrays.items()}))
    return path


@given(st.integers(0, 99), st.sampled_from([1, 3]), st.integers(1, 5), st.integers(1, 4))
def test_what_is_written_is_read(tmp_path_factory, seed, channels, n, k):
    path = tmp_path_factory.mktemp("npz") / "x.npz"
    data = image_set(seed, n=n, c=channels, k=k)
    write_npz(path, data)
    assert same(read_npz(path), data)


def test_a_set_without_labels(tmp_path):
    path, images = tmp_path / "x.npz", pixels(0, 4, 3, 3)
    data = read_npz(write(path, images=images))
    np.testing.assert_array_equal(data.images[..., 0], images)
    assert (data.labels, data.classes, data.n_train) == (None, (), None)
    write_npz(path, data)
    assert same(read_npz(path), data)


@pytest.mark.parametrize(
    "names",
    [("images", "labels"), ("x", "y"), ("arr_0", "arr_1")],
)
def test_the_names_of_a_whole_set(tmp_path, names):
    data = image_set(n=5)
    arrays = dict(zip(names, (data.images, data.labels.astype(np.uint8)[:, None]), strict=True))
    read = read_npz(write(tmp_path / "x.npz", **arrays))
    np.testing.assert_array_equal(read.images, data.images)
    np.testing.assert_array_equal(read.labels, data.labels)
    assert read.classes == ("0", "1", "2")


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
)
def test_the_names_of_a_set_with_a_split(tmp_path, names):
    train, test = image_set(0, n=6, k=2), image_set(1, n=4, k=3)
    arrays = (train.images, train.labels, test.images, test.labels)
    data = read_npz(write(tmp_path / "x.npz", **dict(zip(names, arrays, strict=True))))
    assert (data.n_train, data.classes) == (6, ("0", "1", "2"))
    np.testing.assert_array_equal(data.split()[1].images, test.images)
    np.testing.assert_array_equal(data.split()[1].labels, test.labels)


def test_fortran_order_and_other_byte_orders(tmp_path):
    images = np.asfortranarray(pixels(0, 3, 4, 5, 1))
    labels = np.array([0, 1, 0], ">i4")
    data = read_npz(write(tmp_path / "x.npz", images=images, labels=labels))
    np.testing.assert_array_equal(data.images, images)
    assert data.labels.tolist() == [0, 1, 0]


def test_a_pickle_is_never_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("a pickle was opened",)

    for arrays in (
        {"images": np.array([Bomb()], object)},
        {"images": pixels(0, 1, 2, 2), "labels": np.array([Bomb()], object)},
    ):
        with pytest.raises(InputError, match=r"Python objects \(never read\)"):
            read_npz(write(tmp_path / "x.npz", **arrays))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "the arrays none"),
        ({"pictures": pixels(0, 1, 2, 2)}, "the arrays pictures"),
        (
            {"images": np.zeros((2, 3, 3))},
            "images holds floats, .* pixels .* as uint8",
        ),
        ({"images": pixels(0, 2, 3, 3), "labels": np.zeros(2)}, "labels holds floats"),
        ({"images": np.zeros((2, 3, 3), complex)}, "images holds complex numbers"),
        ({"images": np.zeros((2, 3, 3), "M8[s]")}, "damaged"),
        ({"images": np.zeros((2, 3, 3), np.int32)}, "int32"),
        ({"images": pixels(0, 2, 3)}, r"\(2, 3\)"),
        ({"images": pixels(0, 2, 3, 8, 8)}, "channels last"),
        ({"images": pixels(0, 0, 3, 8)}, "no images"),
        ({"images": pixels(0, 2, 3, 3), "labels": np.zeros(3, int)}, "3 labels"),
        ({"images": pixels(0, 2, 3, 3), "labels": np.zeros((2, 2), int)}, "integers"),
        ({"images": pixels(0, 2, 3, 3), "labels": np.array([0, -1])}, "count from 0"),
        ({"images": pixels(0, 2, 3, 3), "labels": np.array([0, 2**62])}, "no class number"),
        ({"images": pixels(0, 1, 2, 2), "labels": [0], "classes": np.array([[1]])}, "no strings"),
        ({"images": pixels(0, 1, 2, 2), "labels": [5], "classes": np.array(["a"])}, "1 classes"),
    ],
)
def test_arrays_that_are_no_set(tmp_path, arrays, words):
    with pytest.raises(InputError, match=words):
        read_npz(write(tmp_path / "x.npz", **arrays))


def test_every_truncation_is_an_error(tmp_path):
    path = write(tmp_path / "x.npz", images=pixels(0, 2, 3, 3), labels=np.array([0, 1]))
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError):
            read_npz(path)


def test_every_flipped_byte_is_an_error_or_changes_nothing(tmp_path):
    path = write(tmp_path / "x.npz", images=pixels(0, 2, 3, 3), labels=np.array([0, 1]))
    whole, good = path.read_bytes(), read_npz(path)
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x21
        path.write_bytes(damaged)
        try:
            read = read_npz(path)
        except InputError:
            continue
        np.testing.assert_array_equal(read.images, good.images)


def header(text, content=b"", version=1):
    raw = text.encode()
    size = len(raw).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + raw + content


GOOD = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }\n"


@pytest.mark.parametrize("version", [1, 2])
def test_headers_of_both_versions(version):
    array = npy_array(header(GOOD, b"abcdef", version), "x")
    assert array.tolist() == [[97, 98, 99], [100, 101, 102]]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY\x01\0",
        b"PK\3\4" * 4,
        header(GOOD, b"abcde"),
        header(GOOD, b"abcdefg"),
        header(GOOD, b"abcdef", 3),
        header(GOOD.replace("(2, 3)", "(99999999999999999999, 3)"), b"abcdef"),
        header(GOOD.replace("(2, 3)", "(2 3)"), b"abcdef"),
        header(GOOD.replace("2, 3", "9" * 190), b"abcdef"),
        header(GOOD.replace("(2, 3)", "(-2, -3)"), b"abcdef"),
        header(GOOD.replace("|u1", "|u3"), b"abcdef"),
        header(GOOD.replace("|u1", "<U0").replace("2, 3", "0"), b""),
        header(GOOD.replace("|u1", "|O"), b"abcdef"),
        header(GOOD.replace("False", "__import__('os')"), b"abcdef"),
        header("(" * 5000, b"abcdef"),
    ],
)
def test_headers_that_lie(data):
    with pytest.raises(InputError, match=r"^x ") as refused:
        npy_array(data, "x")
    assert "descr" not in str(refused.value)  # a sentence, and no raw header


def test_a_zip_bomb_is_refused_by_what_it_says(tmp_path, monkeypatch):
    path = write(tmp_path / "x.npz", images=np.zeros((100, 100, 100), np.uint8))
    assert path.stat().st_size < 10_000
    monkeypatch.setattr("tinygen.data.images.archive.MAX_BYTES", 100_000)
    with pytest.raises(InputError, match="above the limit"):
        read_npz(path)


def test_members_that_fit_alone_are_refused_together(tmp_path, monkeypatch):
    path = write(tmp_path / "x.npz", images=pixels(0, 100, 2, 2), labels=np.zeros(100, np.int64))
    monkeypatch.setattr("tinygen.data.images.archive.MAX_BYTES", 1400)  # they have 528 and 928
    with pytest.raises(InputError, match="above the limit"):
        read_npz(path)


def test_a_member_that_is_shorter_than_the_archive_says(tmp_path):
    """Its checksum is right, and the length in the directory is not."""
    archive = bytearray(zip_bytes({"images.npy": npy_bytes(pixels(0, 2, 3, 3))}))
    archive[archive.find(b"PK\1\2") + 24] += 5
    (tmp_path / "x.npz").write_bytes(archive)
    with pytest.raises(InputError, match="not as long as the archive says"):
        read_npz(tmp_path / "x.npz")


def test_packings_that_are_not_plain(tmp_path):
    content = {"images.npy": npy_bytes(pixels(0, 2, 3, 3))}
    path = tmp_path / "x.npz"
    path.write_bytes(zip_bytes(content, zipfile.ZIP_LZMA))
    with pytest.raises(InputError, match="pack it again"):
        read_npz(path)
    encrypted = bytearray(zip_bytes(content))
    for magic, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        encrypted[encrypted.find(magic) + offset] |= 1
    path.write_bytes(encrypted)
    with pytest.raises(InputError, match="encrypted"):
        read_npz(path)
    path.write_bytes(b"no zip")
    with pytest.raises(InputError, match="damaged"):
        read_npz(path)
