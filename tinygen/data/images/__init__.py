"""Images: readers, transforms, batches, and two sets that need no internet.

Reading order: `imageset` (what was read), `sources` (what `--data` means), `uci_digits` and
`rendered_glyphs` (the embedded sets), one reader a format (`idx`, `cifar`, `npz`, `folder` with
`picture`), `limits` and `archive` (what a file may do), `transforms`, `batches`.
"""

from tinygen.data.images.batches import ImageBatches, PointBatches, sequential_images
from tinygen.data.images.cifar import read_cifar
from tinygen.data.images.folder import read_image_folder, read_image_zip
from tinygen.data.images.idx import read_idx, read_idx_images, read_mnist_folder, write_idx
from tinygen.data.images.imageset import ImageSet, joined
from tinygen.data.images.npz import read_npz, write_npz
from tinygen.data.images.rendered_glyphs import Style, glyphs
from tinygen.data.images.sources import read_images
from tinygen.data.images.transforms import (
    binarise,
    crop,
    denormalise,
    dequantise,
    flip,
    normalise,
    quantise,
)
from tinygen.data.images.uci_digits import digits

__all__ = [
    "ImageBatches",
    "ImageSet",
    "PointBatches",
    "Style",
    "binarise",
    "crop",
    "denormalise",
    "dequantise",
    "digits",
    "flip",
    "glyphs",
    "joined",
    "normalise",
    "quantise",
    "read_cifar",
    "read_idx",
    "read_idx_images",
    "read_image_folder",
    "read_image_zip",
    "read_images",
    "read_mnist_folder",
    "read_npz",
    "sequential_images",
    "write_idx",
    "write_npz",
]
