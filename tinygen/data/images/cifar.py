"""The binary version of CIFAR-10 and CIFAR-100: files, a folder of them, or the official archive.

A record of CIFAR-10 is 3,073 bytes: the label, then 32 x 32 red, green and blue bytes, plane after
plane, row after row. One of CIFAR-100 has two labels before the pixels, coarse and fine; the fine
one is the class here, the coarse one the factor "coarse". The archive is read as a stream and never
unpacked to the disk.
"""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.data.images.imageset import ImageSet, joined, numbered
from tinygen.data.images.limits import MAX_BYTES, Readable, read_at_most
from tinygen.data.reading import ordinary_file, read_file
from tinygen.errors import InputError
from tinygen.files import StrPath

CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)

_PIXELS = 3 * 32 * 32
_TRAIN = re.compile(r"data_batch_\d+\.bin|train\.bin")  # in the order of their names
_TEST = re.compile(r"test_batch\.bin|test\.bin")
_NAMES = ("batches.meta.txt", "fine_label_names.txt")
_CHUNK = 1 << 20
_LARGEST = 50_000 * (2 + _PIXELS)  # bytes of the official train.bin


def read_cifar(path: StrPath) -> ImageSet:
    """CIFAR from one .bin file, a folder with such files, or the .tar.gz that was published.

    Raises InputError where it is something else, damaged or incomplete.
    """
    source = Path(path)
    if source.is_dir():
        names = sorted(file.name for file in source.iterdir() if _is_wanted(file.name))
        return _of_files({name: read_file(source / name) for name in names}, str(path))
    if source.suffix == ".bin":
        return _part(read_file(source), source.name, str(path))
    return _of_files(_members(source), str(path))


def is_cifar_folder(folder: Path) -> bool:
    return any(_is_wanted(file.name) and file.suffix == ".bin" for file in folder.iterdir())


def _is_wanted(name: str) -> bool:
    return bool(_TRAIN.fullmatch(name) or _TEST.fullmatch(name) or name in _NAMES)


def _of_files(files: Mapping[str, bytes], where: str) -> ImageSet:
    train = b"".join(files[name] for name in sorted(files) if _TRAIN.fullmatch(name))
    test = b"".join(files[name] for name in sorted(files) if _TEST.fullmatch(name))
    if not train and not test:
        raise InputError(f"{where} has no CIFAR in it: no data_batch_1.bin, no train.bin")
    first = next(name for name in sorted(files) if name.endswith(".bin"))
    names = next((_class_names(files[name], where) for name in _NAMES if name in files), ())
    parts = [_part(content, first, where, names) for content in (train, test) if content]
    if len(parts) == 1:
        return parts[0]
    return joined(*parts)


def _class_names(content: bytes, where: str) -> tuple[str, ...]:
    try:
        return tuple(content.decode("ascii").split())
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: the names of its classes are no ASCII; get it again") from error


def _part(content: bytes, file_name: str, where: str, classes: tuple[str, ...] = ()) -> ImageSet:
    label_bytes = _label_bytes(content, file_name, where)
    record = label_bytes + _PIXELS
    if not content or len(content) % record:
        raise InputError(f"{where}: {len(content):,} bytes are no whole records of {record:,}")
    rows = np.frombuffer(content, np.uint8).reshape(-1, record)
    planes = rows[:, label_bytes:].reshape(-1, 3, 32, 32)  # (N, C, H, W)
    labels = rows[:, :label_bytes].astype(np.int64)  # the fine one last
    if not classes:
        classes = CIFAR10_CLASSES if label_bytes == 1 else numbered(np.array([99]))
    return ImageSet(
        Path(where).name,
        np.ascontiguousarray(planes.transpose(0, 2, 3, 1)),  # (N, H, W, C)
        labels[:, -1],
        classes,
        f"read from {where}",
        factors={"coarse": labels[:, 0]} if label_bytes == 2 else {},
    )


def _label_bytes(content: bytes, file_name: str, where: str) -> int:
    """1 for CIFAR-10, 2 for CIFAR-100, by the official names or else by the length."""
    if file_name.startswith(("data_batch_", "test_batch")):
        return 1
    if file_name in ("train.bin", "test.bin"):
        return 2
    fits = [n for n in (1, 2) if len(content) % (n + _PIXELS) == 0]
    if len(fits) != 1 or not content:
        raise InputError(
            f"{where}: {len(content):,} bytes may be CIFAR-10, CIFAR-100 or neither; "
            "give the file its official name"
        )
    return fits[0]


def _members(archive: Path) -> dict[str, bytes]:
    """The wanted files of a tar archive, gzipped or not."""
    found: dict[str, bytes] = {}
    try:
        with ordinary_file(archive).open("rb") as file:
            zipped = file.peek(2)[:2] == b"\x1f\x8b"
            source: Readable = gzip.GzipFile(fileobj=file) if zipped else file
            limited: Any = _Limited(source, str(archive))
            with tarfile.open(fileobj=limited, mode="r|") as tar:
                for member in tar:
                    name = member.name.rsplit("/", 1)[-1]
                    content = tar.extractfile(member) if _is_wanted(name) else None
                    if content is None:
                        continue
                    if member.size > _LARGEST or name in found:
                        raise InputError(f"{archive}: {name} is too large or there twice")
                    found[name] = read_at_most(content, member.size)
            while limited.read(_CHUNK):
                pass  # to the end, where gzip has its checksum
    except InputError:
        raise
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, OverflowError) as error:
        raise InputError(f"{archive} is no intact tar archive: {error}; get it again") from error
    return found


class _Limited:
    """A source that gives at most MAX_BYTES: more comes from no CIFAR, but from a bomb."""

    def __init__(self, source: Readable, name: str):
        self.source = source
        self.left = MAX_BYTES
        self.name = name

    def read(self, size: int, /) -> bytes:
        content = self.source.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise InputError(f"{self.name} unpacks to more than {MAX_BYTES:,} bytes: refused")
        return content
