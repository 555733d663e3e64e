"""Small image sets, and the files that hold them."""

import io
import tarfile
import zipfile

import numpy as np

from tinygen.data.images import ImageSet
from tinygen.random import Generator


def pixels(seed, *shape):
    return Generator(seed).integers(256, shape=shape).astype(np.uint8)


def image_set(seed=0, n=6, h=5, w=4, c=1, k=3, n_train=None):
    """Random images with labels that use every class."""
    classes = tuple("abcdefgh"[:k])
    labels = np.arange(n) % k
    return ImageSet("set", pixels(seed, n, h, w, c), labels, classes, "a test", n_train=n_train)


def png_bytes(image, kind="PNG", **options):
    from PIL import Image

    picture = image if isinstance(image, Image.Image) else Image.fromarray(image.squeeze())
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def picture_files(data, parts=False):
    """{path: PNG} of a set, as class folders, below train/ and test/ if `parts`."""
    files = {}
    for i, image in enumerate(data.images):
        folder = data.classes[data.labels[i]] + "/" if data.labels is not None else ""
        part = ("train/" if i < data.n_train else "test/") if parts else ""
        files[f"{part}{folder}{i:04d}.png"] = png_bytes(image)
    return files


def write_files(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def zip_bytes(files, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tar_bytes(files, mode="w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def sorted_by_class(data):
    """The order in which class folders have the images of a set."""
    return data.subset(np.argsort(data.labels, kind="stable"))


def same(a, b):
    """Pixels, labels, classes and factors are equal (and the hash says so)."""
    np.testing.assert_array_equal(a.images, b.images)
    assert (a.labels is None) == (b.labels is None)
    if a.labels is not None:
        np.testing.assert_array_equal(a.labels, b.labels)
    assert a.classes == b.classes
    assert a.sha256 == b.sha256
    return True
