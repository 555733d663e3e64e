"""CIFAR's binary files, alone, in folders and in the official archive."""

import gzip

import numpy as np
import pytest
from image_files import image_set, same, tar_bytes, write_files

from tinygen.data.images import read_cifar
from tinygen.data.images.cifar import CIFAR10_CLASSES, is_cifar_folder
from tinygen.errors import InputError

NAMES = "\n".join(CIFAR10_CLASSES).encode() + b"\n\n"


def records(data, coarse=None):
    """The bytes of CIFAR-10's records, or with `coarse` labels of CIFAR-100's."""
    rows = [] if coarse is None else [coarse[:, None]]
    planes = data.images.transpose(0, 3, 1, 2).reshape(len(data), -1)  # (N, 3 32 32)
    return np.concatenate([*rows, data.labels[:, None], planes], axis=1).astype(np.uint8).tobytes()


def cifar(seed, n):
    return image_set(seed, n=n, h=32, w=32, c=3)


@pytest.fixture
def official():
    """The members of cifar-10-binary.tar.gz, with four images a batch, and what they hold."""
    parts = [cifar(seed, 4) for seed in range(6)]
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    files = {f"cifar-10-batches-bin/{n}": records(p) for n, p in zip(names, parts, strict=True)}
    files["cifar-10-batches-bin/readme.html"] = b"<html>"
    files["cifar-10-batches-bin/batches.meta.txt"] = NAMES
    return files, parts


def check_official(data, parts):
    assert (len(data), data.n_train, data.classes) == (24, 20, CIFAR10_CLASSES)
    np.testing.assert_array_equal(data.images, np.concatenate([p.images for p in parts]))
    np.testing.assert_array_equal(data.labels, np.concatenate([p.labels for p in parts]))


@pytest.mark.parametrize("mode", ["w:gz", "w:"])
def test_the_official_archive(tmp_path, official, mode):
    files, parts = official
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(tar_bytes(dict(reversed(files.items())), mode))  # in any order
    check_official(read_cifar(path), parts)


def test_a_folder(tmp_path, official):
    files, parts = official
    folder = write_files(tmp_path, files) / "cifar-10-batches-bin"
    check_official(read_cifar(folder), parts)
    assert is_cifar_folder(folder)
    assert not is_cifar_folder(tmp_path)
    (folder / "batches.meta.txt").unlink()  # the names are known
    check_official(read_cifar(folder), parts)


def test_one_file_and_an_unofficial_name(tmp_path):
    data = cifar(0, 5)
    for name in ("data_batch_3.bin", "mine.bin"):
        (tmp_path / name).write_bytes(records(data))
        read = read_cifar(tmp_path / name)
        np.testing.assert_array_equal(read.images, data.images)
        np.testing.assert_array_equal(read.labels, data.labels)
        assert read.n_train is None


def test_cifar_100_has_a_fine_class_and_a_coarse_factor(tmp_path):
    train, test = cifar(0, 5), cifar(1, 3)
    coarse = np.arange(5) * 3
    files = {
        "train.bin": records(train, coarse),
        "test.bin": records(test, coarse[:3] + 1),
        "fine_label_names.txt": b"apple\nbaby\nbear\n",
        "coarse_label_names.txt": b"fish\n",
    }
    data = read_cifar(write_files(tmp_path, files))
    assert (data.n_train, data.classes) == (5, ("apple", "baby", "bear"))
    np.testing.assert_array_equal(data.images[5:], test.images)
    np.testing.assert_array_equal(data.labels[:5], train.labels)
    assert data.factors["coarse"].tolist() == [0, 3, 6, 9, 12, 1, 4, 7]
    (tmp_path / "mine.bin").write_bytes(files["train.bin"])
    assert len(read_cifar(tmp_path / "mine.bin").classes) == 100


def test_a_pixel_is_where_it_belongs(tmp_path):
    """Record: label, then the red plane row by row, then green, then blue."""
    record = bytearray(3073)
    record[0] = 7
    record[1 + 1024 + 5 * 32 + 9] = 200  # green, row 5, column 9
    (tmp_path / "test_batch.bin").write_bytes(record)
    data = read_cifar(tmp_path / "test_batch.bin")
    assert data.images[0, 5, 9].tolist() == [0, 200, 0]
    assert data.images.sum() == 200
    assert data.classes[data.labels[0]] == "horse"


@pytest.mark.parametrize("length", [0, 1, 3072, 3074 * 2 + 1, 3073 * 3074])
def test_a_file_of_another_length(tmp_path, length):
    (tmp_path / "mine.bin").write_bytes(bytes(length))
    with pytest.raises(InputError, match="official name"):
        read_cifar(tmp_path / "mine.bin")


def test_every_truncation_of_a_file_is_an_error(tmp_path):
    path, whole = tmp_path / "data_batch_1.bin", records(cifar(0, 2))
    for end in [*range(0, 3073, 97), *range(3074, len(whole), 97)]:
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match="no whole records"):
            read_cifar(path)


def test_every_truncation_and_many_flips_of_an_archive_are_errors(tmp_path, official):
    """A damaged archive is never read as another set: gzip's checksum is behind every byte."""
    whole = tar_bytes({"a/test_batch.bin": records(cifar(0, 1)), "a/batches.meta.txt": NAMES})
    path = tmp_path / "x.tar.gz"
    path.write_bytes(whole)
    good = read_cifar(path)
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError):
            read_cifar(path)
    for position in range(0, len(whole), 11):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        try:
            assert same(read_cifar(path), good)
        except InputError:
            continue


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no CIFAR"),
        ({"other.txt": b"x"}, "no CIFAR"),
        ({"a/test_batch.bin": b"x" * 100}, "no whole records"),
        ({"a/test_batch.bin": bytes(3073), "b/test_batch.bin": bytes(3073)}, "there twice"),
        ({"test_batch.bin": b"\x0b" + bytes(3072)}, "10 classes"),
        ({"test_batch.bin": bytes(3073), "batches.meta.txt": b"\xff"}, "no ASCII"),
        ({"test_batch.bin": bytes(3073), "train.bin": bytes(3074)}, "records"),
    ],
)
def test_archives_that_are_no_cifar(tmp_path, files, words):
    path = tmp_path / "x.tar.gz"
    path.write_bytes(tar_bytes(files))
    with pytest.raises(InputError, match=words):
        read_cifar(path)


def test_bombs_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "x.tar.gz"
    path.write_bytes(tar_bytes({"data_batch_1.bin": bytes(200_000_000 // 1000)}))
    monkeypatch.setattr("tinygen.data.images.cifar._LARGEST", 100_000)
    with pytest.raises(InputError, match="too large"):
        read_cifar(path)
    path.write_bytes(gzip.compress(tar_bytes({"filler": bytes(1 << 20)}, "w:")))
    monkeypatch.setattr("tinygen.data.images.cifar.MAX_BYTES", 1 << 19)
    with pytest.raises(InputError, match="unpacks to more than"):
        read_cifar(path)


def test_what_is_no_archive(tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(b"no archive at all")
    for path in (tmp_path / "x.tar.gz", tmp_path / "missing.tar.gz", tmp_path / "missing.bin"):
        with pytest.raises(InputError):
            read_cifar(path)
