"""The embedded images: 1,797 handwritten digits of 8 x 8 pixels, which need no internet.

"Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI Machine Learning
Repository 1998, DOI 10.24432/C50P49, CC BY 4.0: the test part of that set, written by 13 people
who wrote none of its training part. Each pixel counts the ink in a 4 x 4 block of the scan, 0 ...
16; here it is `round(255 / 16 * count)`, from which `counts` has it back. The two IDX files and
their attribution are in `tinygen/data/embedded_images/`; `docs/pack_digits.py` made them.

The split is fixed: the first 1,437 images train, the last 360 test. That is scikit-learn's usual
fifth without shuffling; as the images stand in the order of their writers, it tests mostly on hands
that were not trained on, and is harder than a random fifth.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinygen.data.images.idx import read_idx
from tinygen.data.images.imageset import Images, ImageSet
from tinygen.errors import InputError

FOLDER = Path(__file__).parents[1] / "embedded_images"
IMAGES, LABELS = FOLDER / "digits-images-idx3-ubyte.gz", FOLDER / "digits-labels-idx1-ubyte.gz"

N_TRAIN = 1437
LEVELS = 17  # a pixel is one of 0, 16, 32, ... 255
SHA256 = "51eafc4e8d133d474a8a8d5ac54d9cb3089edc9b36ddf8cecf153cfef5addf7d"


def digits() -> ImageSet:
    """The set (1797, 8, 8, 1), labels 0 ... 9. Raises InputError where the files are damaged."""
    ink = read_idx(IMAGES)  # (1797, 8, 8), 0 ... 16
    images = np.rint(ink * (255 / (LEVELS - 1))).astype(np.uint8)
    data = ImageSet(
        "digits",
        images[..., None],
        read_idx(LABELS),
        tuple("0123456789"),
        "Optical Recognition of Handwritten Digits (test part), E. Alpaydin and C. Kaynak, UCI "
        "1998, doi:10.24432/C50P49",
        licence="CC BY 4.0",
        n_train=N_TRAIN,
    )
    if data.sha256 != SHA256:
        raise InputError(
            f"the embedded digits are not the original: their sha256 is {data.sha256}, expected "
            f"{SHA256}; install tinygen again"
        )
    return data


def counts(images: Images) -> NDArray[np.int64]:
    """The original 0 ... 16 of images of this set: the successes of a binomial of 16."""
    return np.rint(images * ((LEVELS - 1) / 255)).astype(np.int64)
