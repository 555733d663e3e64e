"""What `--data` means to a model of images: an embedded set, a fetched one, or a path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tinygen.data.datasets import DATASETS
from tinygen.data.fetch import find
from tinygen.data.images.cifar import is_cifar_folder, read_cifar
from tinygen.data.images.folder import read_image_folder, read_image_zip
from tinygen.data.images.idx import idx_file, read_idx_images, read_mnist_folder
from tinygen.data.images.imageset import ImageSet
from tinygen.data.images.npz import read_npz
from tinygen.data.images.picture import EXTENSIONS
from tinygen.data.images.rendered_glyphs import glyphs
from tinygen.data.images.uci_digits import digits
from tinygen.data.reading import ordinary_file
from tinygen.errors import InputError, UsageError
from tinygen.files import StrPath

EMBEDDED_IMAGES: dict[str, Callable[[], ImageSet]] = {"digits": digits, "glyphs": glyphs}
FETCHED_IMAGES = tuple(name for name, data in DATASETS.items() if data.kind == "images")

FASHION_CLASSES = (
    *("T-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)


def read_images(source: StrPath, *, size: int | tuple[int, int] | None = None) -> ImageSet:
    """The set that `source` names: digits, glyphs, a fetched set, or a file or folder.

    A name comes before a path of the same spelling; "./digits" is always the path. A path may be
    IDX (.gz too; its labels are found beside it, or a folder with MNIST's four files), CIFAR (.bin,
    a folder of them, .tar.gz), .npz, or a folder or .zip of PNG and JPEG. `size` (one number, or
    height and width) brings pictures and glyphs to one size; other sets have theirs. `split` of
    the result is the source's own where it has one. Nothing is downloaded here.

    Raises InputError where there is no such data or they are damaged, UsageError for a size that
    cannot be, UnavailableError where Pillow is needed and absent.
    """
    name = str(source)
    if name == "glyphs" and isinstance(size, int):
        return glyphs(size)
    if name in EMBEDDED_IMAGES:
        _no_size(name, size)
        return EMBEDDED_IMAGES[name]()
    if name in FETCHED_IMAGES:
        _no_size(name, size)
        return _fetched(name)
    path = Path(source)
    if path.is_dir():
        return _of_folder(path, size)
    if not path.exists():
        if name in DATASETS:
            raise InputError(f"the data {name!r} are {DATASETS[name].kind}, no images")
        names = ", ".join((*EMBEDDED_IMAGES, *FETCHED_IMAGES))
        raise InputError(f"no data {name!r}: neither a file, nor a folder, nor one of {names}")
    return _of_file(path, size)


def _fetched(name: str) -> ImageSet:
    path = find(name)
    if path is None:
        raise InputError(
            f"the data {name!r} are not on this machine; `tinygen data fetch {name}` gets them, "
            "and `--data digits` needs nothing"
        )
    if name == "mnist":
        data = read_mnist_folder(path, tuple("0123456789"))
    elif name == "fashion-mnist":
        data = read_mnist_folder(path, FASHION_CLASSES)
    else:
        data = read_cifar(path)
    about = DATASETS[name]
    return replace(data, name=name, provenance=about.origin, licence=about.licence)


def _of_folder(path: Path, size: int | tuple[int, int] | None) -> ImageSet:
    if idx_file(path, "train-images-idx3-ubyte") is not None:
        _no_size(path, size)
        return read_mnist_folder(path)
    if is_cifar_folder(path):
        _no_size(path, size)
        return read_cifar(path)
    return read_image_folder(path, size=size)


def _of_file(path: Path, size: int | tuple[int, int] | None) -> ImageSet:
    name = path.name.lower()
    if name.endswith(".zip"):
        return read_image_zip(path, size=size)
    _no_size(path, size)
    if name.endswith(".npz"):
        return read_npz(path)
    if name.endswith((".tar.gz", ".tgz", ".tar", ".bin")):
        return read_cifar(path)
    if name.endswith(EXTENSIONS):
        raise InputError(f"{path} is one picture, no set; give the folder of many")
    if name.endswith(".gz") or _begins_as_idx(path):
        labels = idx_file(path.parent, _labels_name(path))
        return read_idx_images(path, labels)
    raise InputError(
        f"{path} is no set of images that tinygen reads: IDX (.gz), CIFAR (.bin, .tar.gz), .npz, "
        "or a folder or .zip of PNG and JPEG"
    )


def _begins_as_idx(path: Path) -> bool:
    with ordinary_file(path).open("rb") as file:
        magic = file.read(4)
    return len(magic) == 4 and magic[:3] == b"\0\0\x08" and magic[3] in (3, 4)


def _labels_name(images: Path) -> str:
    """train-images-idx3-ubyte.gz has its labels in train-labels-idx1-ubyte, gzipped or not."""
    name = images.name.removesuffix(".gz")
    return name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")


def _no_size(source: StrPath, size: int | tuple[int, int] | None) -> None:
    if size is not None:
        raise UsageError(f"{source} has its own size; a size is for folders, .zip and glyphs only")
