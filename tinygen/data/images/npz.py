"""NumPy's .npz: an archive of arrays. Python objects in it (pickles) are never read.

    arrays                                                   a set with
    images [, labels [, classes]]   (or x, y; arr_0, arr_1)  no split of its own
    x_train, y_train, x_test, y_test                         its own split (Keras's naming)
    train_images, train_labels, test_images, test_labels     its own split (MedMNIST's naming)

Images are uint8 (N, H, W) or (N, H, W, C), labels integers (N,) or (N, 1), classes strings.
"""

from __future__ import annotations

import io
import math
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygen.data.images.archive import Archive, open_archive
from tinygen.data.images.imageset import ImageSet, joined, numbered
from tinygen.errors import InputError
from tinygen.files import StrPath, write_atomically

_WHOLE = (("images", "labels"), ("x", "y"), ("arr_0", "arr_1"))
_SPLIT = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
)


def read_npz(path: StrPath) -> ImageSet:
    """The set in the .npz file `path`. Raises InputError."""
    with open_archive(Path(path)) as archive:
        names = {name.removesuffix(".npy") for name in archive.members}
        classes = _class_names(archive) if "classes" in names else ()
        for images, labels, test_images, test_labels in _SPLIT:
            if {images, test_images} <= names:
                y, test_y = _labels(archive, labels), _labels(archive, test_labels)
                if y is not None and test_y is not None and not classes:
                    classes = numbered(np.concatenate([y, test_y]))
                train = _image_set(archive, images, y, classes)
                return joined(train, _image_set(archive, test_images, test_y, classes))
        for images, labels in _WHOLE:
            if images in names:
                return _image_set(archive, images, _labels(archive, labels), classes)
    raise InputError(
        f"{path} has the arrays {', '.join(sorted(names)) or 'none'}; none is `images`"
    )


def write_npz(path: StrPath, data: ImageSet) -> None:
    """Write `data` so that `read_npz` has it back. Raises OutputError."""
    arrays: dict[str, Any] = {"images": data.images}
    if data.labels is not None:
        arrays |= {"labels": data.labels, "classes": np.array(data.classes, np.str_)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())


def _image_set(
    archive: Archive, name: str, labels: NDArray[Any] | None, classes: tuple[str, ...]
) -> ImageSet:
    images, where = _array(archive, name), f"{archive.path}: {name}"
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise InputError(
            f"{where} is {images.dtype} {images.shape}; uint8 (N, H, W) or (N, H, W, C) is needed, "
            "0 black to 255 white"
        )
    if images.ndim == 3:
        images = images[..., None]
    if images.shape[3] > 4:
        raise InputError(f"{where} has the shape {images.shape}; put its channels last")
    if labels is not None and len(labels) != len(images):
        raise InputError(f"{where} has {len(images)} images and {len(labels)} labels")
    if labels is not None and not classes:
        if labels.size and labels.min() < 0:
            raise InputError(f"{where} has the label {labels.min()}; labels count from 0")
        classes = numbered(labels)
    return ImageSet(
        archive.path.name,
        np.ascontiguousarray(images),
        labels,
        classes if labels is not None else (),
        f"read from {archive.path}",
    )


def _labels(archive: Archive, name: str) -> NDArray[Any] | None:
    if f"{name}.npy" not in archive.members:
        return None
    labels = _array(archive, name)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise InputError(
            f"{archive.path}: {name} is {labels.dtype} {labels.shape}; integers (N,) are needed"
        )
    if labels.size and labels.max() >= 1 << 20:
        raise InputError(f"{archive.path}: {name} has the label {labels.max()}: no class number")
    return labels


def _class_names(archive: Archive) -> tuple[str, ...]:
    names = _array(archive, "classes")
    if names.dtype.kind != "U" or names.ndim != 1:
        raise InputError(f"{archive.path}: classes is {names.dtype} {names.shape}, no strings (K,)")
    return tuple(map(str, names))


# ---- one array -----------------------------------------------------------------------------------

_DTYPE = re.compile(r"'descr'\s*:\s*'([<>|=]([a-zA-Z])[0-9]{0,9})'")
_FORTRAN = re.compile(r"'fortran_order'\s*:\s*(True|False)")
_SHAPE = re.compile(r"'shape'\s*:\s*\(([0-9,\s]{0,200})\)")

_KINDS = {"f": "floats", "c": "complex numbers", "O": "Python objects (never read)"}


def _array(archive: Archive, name: str) -> NDArray[Any]:
    return npy_array(archive.read(f"{name}.npy"), f"{archive.path}: {name}")


def npy_array(data: bytes, name: str) -> NDArray[Any]:
    """The array in the bytes of a .npy file of integers, booleans or strings.

    The header is a Python dictionary, and is searched, not evaluated. Raises InputError.
    """
    if data[:6] != b"\x93NUMPY" or len(data) < 12 or data[6] not in (1, 2):
        raise InputError(f"{name} is no array of NumPy; save it with numpy.savez")
    size_of_size = 2 if data[6] == 1 else 4
    (length,) = struct.unpack_from("<H" if data[6] == 1 else "<I", data, 8)
    start = 8 + size_of_size + length
    header = data[8 + size_of_size : min(start, 10_000)].decode("latin1")
    dtype, order, shape = (p.search(header) for p in (_DTYPE, _FORTRAN, _SHAPE))
    if dtype is not None and dtype[2] not in "biuU":
        held = _KINDS.get(dtype[2], f"values of type {dtype[1]!r}")
        raise InputError(
            f"{name} holds {held}, and integers, booleans or strings are needed; save pixels "
            "0 ... 255 as uint8, labels as int64"
        )
    damaged = f"{name} is damaged, or no plain array: its header cannot be read; save it again"
    if dtype is None or order is None or shape is None:
        raise InputError(damaged)
    try:
        axes = tuple(int(n) for n in shape[1].split(",") if n.strip())
        kind = np.dtype(dtype[1])
    except (ValueError, TypeError) as error:
        raise InputError(damaged) from error
    content = memoryview(data)[start:]
    if math.prod(axes) * kind.itemsize != len(content) or not kind.itemsize:
        raise InputError(
            f"{name} has {len(content):,} bytes, not those of {kind} {axes} as its header says; "
            "get it again"
        )
    flat = np.frombuffer(content, kind)
    array = flat.reshape(axes, order="F" if order[1] == "True" else "C")
    return array.astype(kind.newbyteorder("="), copy=False)
