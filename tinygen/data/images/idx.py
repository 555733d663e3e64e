"""IDX, the format of MNIST and Fashion-MNIST, plain or gzipped.

    bytes    meaning
    2        zero
    1        type: 8 uint8, 9 int8, 11 int16, 12 int32, 13 float32, 14 float64
    1        number of axes, n
    4 n      the axes, unsigned, most significant byte first
    the rest the elements in C order, most significant byte first

Nothing that the header says is believed before the file bears it out: a length that differs is an
error, and a gzipped file is unpacked in steps and never further than its header promised.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygen.data.images.imageset import ImageSet, joined, numbered
from tinygen.data.images.limits import DEFLATE_RATIO, MAX_BYTES, Readable, read_at_most
from tinygen.data.reading import read_file
from tinygen.errors import DtypeError, InputError, ShapeError
from tinygen.files import StrPath, write_atomically

_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_CODES = {np.dtype(name).newbyteorder("="): code for code, name in _TYPES.items()}
_GZIP = b"\x1f\x8b"
_MOST_AXES = 64  # of a NumPy array


def read_idx(path: StrPath) -> NDArray[Any]:
    """The array in the IDX file `path`, gzipped or not, in the machine's byte order.

    Raises InputError where the file is missing, is no IDX, or is not as long as its header says.
    """
    return idx_array(read_file(path), str(path))


def idx_array(data: bytes, name: str) -> NDArray[Any]:
    """The array in the bytes of an IDX file called `name`."""
    source = gzip.GzipFile(fileobj=io.BytesIO(data)) if data[:2] == _GZIP else io.BytesIO(data)
    try:
        dtype, shape = _header(source, name)
        size = math.prod(shape) * dtype.itemsize
        if size > MAX_BYTES:
            raise InputError(f"{name}: {size:,} bytes of {shape}, above the limit {MAX_BYTES:,}")
        if size > DEFLATE_RATIO * len(data):
            raise InputError(f"{name} cannot hold the {shape} that its header says: damaged")
        content = read_at_most(source, size + 1)  # to the end, where gzip has its checksum
    except (OSError, EOFError, zlib.error) as error:  # BadGzipFile is an OSError
        raise InputError(f"{name} is damaged: {error}; get it again") from error
    if len(content) != size:
        more = "more than" if len(content) > size else f"{len(content):,} of"
        raise InputError(f"{name} has {more} the {size:,} bytes that its header {shape} says")
    if len(shape) > _MOST_AXES:
        raise InputError(f"{name} has {len(shape)} axes; NumPy has at most {_MOST_AXES}")
    array = np.frombuffer(content, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _header(source: Readable, name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    magic = read_at_most(source, 4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or not magic[3]:
        raise InputError(f"{name} is no IDX file: it begins with {magic.hex(' ') or 'nothing'}")
    axes = read_at_most(source, 4 * magic[3])
    if len(axes) < 4 * magic[3]:
        raise InputError(f"{name} ends within its header")
    return np.dtype(_TYPES[magic[2]]), struct.unpack(f">{magic[3]}I", axes)


def idx_bytes(array: NDArray[Any]) -> bytes:
    """`array` as an IDX file."""
    if array.dtype not in _CODES:
        raise DtypeError(f"IDX has no {array.dtype}; it has {', '.join(map(str, _CODES))}")
    if array.ndim < 1 or any(n >= 1 << 32 for n in array.shape):
        raise ShapeError(f"IDX cannot hold the shape {array.shape}")
    code = _CODES[array.dtype]
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return header + array.astype(_TYPES[code]).tobytes()


def write_idx(path: StrPath, array: NDArray[Any]) -> None:
    """Write `array` as IDX, gzipped where `path` ends in .gz. Raises OutputError."""
    data = idx_bytes(array)
    if str(path).endswith(".gz"):
        data = gzip.compress(data, 9, mtime=0)
    write_atomically(path, data)


# ---- image sets ----------------------------------------------------------------------------------


def read_idx_images(
    images: StrPath, labels: StrPath | None = None, classes: tuple[str, ...] = ()
) -> ImageSet:
    """The set of an IDX file of images (N, H, W) or (N, H, W, C) and, if given, one of labels."""
    pixels = read_idx(images)
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
        raise InputError(
            f"{images} holds {pixels.dtype} {pixels.shape}, no images: uint8 (N, H, W) is needed"
        )
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    numbers = None
    if labels is not None:
        numbers = read_idx(labels)
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu" or len(numbers) != len(pixels):
            raise InputError(
                f"{labels} holds {numbers.dtype} {numbers.shape}, no labels for the "
                f"{len(pixels)} images of {images}"
            )
        classes = classes or numbered(numbers)
    name = Path(images).name
    return ImageSet(name, pixels, numbers, classes, f"read from {images}")


def read_mnist_folder(folder: StrPath, classes: tuple[str, ...] = ()) -> ImageSet:
    """The training and test files of MNIST's naming in one folder, as one set with that split."""
    root, parts = Path(folder), []
    for part in ("train", "t10k"):
        images = idx_file(root, f"{part}-images-idx3-ubyte")
        labels = idx_file(root, f"{part}-labels-idx1-ubyte")
        if images is None or labels is None:
            raise InputError(f"{folder} lacks the {part} images or labels of an MNIST folder")
        parts.append((images, labels))
    if not classes:
        classes = numbered(np.concatenate([read_idx(labels) for _, labels in parts]))
    train, test = (read_idx_images(images, labels, classes) for images, labels in parts)
    return joined(train, test)


def idx_file(folder: Path, name: str) -> Path | None:
    """The file `name` or `name`.gz in `folder`, the unpacked one first."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    return None
