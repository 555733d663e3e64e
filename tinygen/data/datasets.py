"""The public data that tinygen knows by name: where they are, how large, and their hashes.

Every hash is the published one of the original file. A gzipped file may also have been packed
again: then `content_sha256`, the hash of what it unpacks to, says that the data are the originals.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal


@dataclass(frozen=True)
class RemoteFile:
    """One file: its path below the data folder, and its mirrors in the order of trying."""

    filename: str
    urls: tuple[str, ...]
    sha256: str
    size: int  # bytes
    content_sha256: str | None = None


@dataclass(frozen=True)
class Dataset:
    """Files that belong together, in one folder."""

    name: str
    files: tuple[RemoteFile, ...]
    kind: Literal["text", "images"]
    licence: str
    origin: str

    @property
    def size(self) -> int:
        """Bytes in all files."""
        return sum(file.size for file in self.files)

    @property
    def place(self) -> str:
        """The path below the data folder: of the file if it is one, of their folder if several."""
        first = self.files[0].filename
        return first if len(self.files) == 1 else str(PurePosixPath(first).parent)


def _idx_files(
    folder: str, mirrors: tuple[str, ...], rows: tuple[tuple[str, int, str, str | None], ...]
) -> tuple[RemoteFile, ...]:
    """MNIST's four files: (part and kind, size, sha256, sha256 of the content) each."""
    files = []
    for name, size, sha256, content_sha256 in rows:
        axes = 3 if name.endswith("images") else 1
        filename = f"{name}-idx{axes}-ubyte.gz"
        urls = tuple(mirror + filename for mirror in mirrors)
        files.append(RemoteFile(f"{folder}/{filename}", urls, sha256, size, content_sha256))
    return tuple(files)


TINYSHAKESPEARE = Dataset(
    name="tinyshakespeare",
    files=(
        RemoteFile(
            "tinyshakespeare.txt",
            (
                "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/"
                "input.txt",
            ),
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            1_115_394,
        ),
    ),
    kind="text",
    licence="public domain (the works of Shakespeare)",
    origin="tinyshakespeare, of karpathy/char-rnn",
)

MNIST = Dataset(
    name="mnist",
    files=_idx_files(
        "mnist",
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "http://yann.lecun.com/exdb/mnist/",
        ),
        (
            (
                "train-images",
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            (
                "train-labels",
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            (
                "t10k-images",
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            (
                "t10k-labels",
                4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
    ),
    kind="images",
    licence="CC BY-SA 3.0 (Y. LeCun and C. Cortes)",
    origin="MNIST: 60,000 + 10,000 handwritten digits 28x28, LeCun, Cortes and Burges 1998",
)

FASHION_MNIST = Dataset(
    name="fashion-mnist",
    files=_idx_files(
        "fashion-mnist",
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        (
            (
                "train-images",
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                None,
            ),
            (
                "train-labels",
                29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                None,
            ),
            (
                "t10k-images",
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                None,
            ),
            (
                "t10k-labels",
                5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                None,
            ),
        ),
    ),
    kind="images",
    licence="MIT (Zalando SE)",
    origin="Fashion-MNIST: 60,000 + 10,000 articles of clothing 28x28, Xiao et al. 2017",
)

CIFAR10 = Dataset(
    name="cifar10",
    files=(
        RemoteFile(
            "cifar-10-binary.tar.gz",
            (
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/"
                "cifar-10-binary.tar.gz",
            ),
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            170_052_171,
        ),
    ),
    kind="images",
    licence="not stated; its authors ask to cite the report",
    origin="CIFAR-10: 50,000 + 10,000 photographs 32x32, A. Krizhevsky 2009, "
    "Learning Multiple Layers of Features from Tiny Images",
)

DATASETS = {data.name: data for data in (TINYSHAKESPEARE, MNIST, FASHION_MNIST, CIFAR10)}
