"""Make the embedded digits again: tinygen/data/embedded_images/*.gz

    pip install scikit-learn
    python docs/pack_digits.py [UCI_FILE]

From UCI's own `optdigits.tes` where that is given (https://doi.org/10.24432/C50P49: 64 pixels and a
label a line, separated by commas), otherwise from the copy that scikit-learn carries (the same
table: its `digits.csv.gz`, given as UCI_FILE, makes the same bytes).
"""

from __future__ import annotations

import sys

import numpy as np

from tinygen.data.images.idx import write_idx
from tinygen.data.images.uci_digits import FOLDER, IMAGES, LABELS


def main(path: str | None) -> None:
    if path is None:
        from sklearn.datasets import load_digits

        rows = load_digits()
        images, labels = rows.images, rows.target
    else:
        table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
        images, labels = table[:, :64], table[:, 64]
    FOLDER.mkdir(exist_ok=True)
    write_idx(IMAGES, np.asarray(images, np.uint8).reshape(-1, 8, 8))
    write_idx(LABELS, np.asarray(labels, np.uint8))
    for file in (IMAGES, LABELS):
        print(f"{file.stat().st_size:7,} bytes  {file}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
