"""What `--data` means: an embedded corpus, a fetched one, or a path."""

from pathlib import Path

from tinygen.data import embedded
from tinygen.data.corpus import Corpus
from tinygen.data.datasets import DATASETS
from tinygen.data.fetch import find
from tinygen.data.packages import packages
from tinygen.data.reading import read_file
from tinygen.data.text import JSON_LINES, read_folder, read_json_lines, read_text
from tinygen.errors import InputError
from tinygen.files import StrPath

EMBEDDED = {"docs": embedded.docs, "stdlib": embedded.stdlib, "packages": packages}
FETCHED = tuple(name for name, data in DATASETS.items() if data.kind == "text")


def read_corpus(source: StrPath, *, field: str = "text", raw: bool = False) -> Corpus:
    """The corpus that `source` names: docs, stdlib, packages, a fetched text, or a file or folder.

    A name comes before a path of the same spelling; "./docs" is always the path. `field` is where
    JSON lines keep their text; `raw` takes binary files too (for the byte tokenizer). Nothing is
    downloaded here. Raises InputError, and UnavailableError for an embedded corpus that this
    Python lacks.
    """
    name = str(source)
    names = ", ".join((*EMBEDDED, *DATASETS))
    if not name:
        raise InputError(f"the name of the data is empty; give a file, a folder, or one of {names}")
    if name in EMBEDDED:
        return EMBEDDED[name]()
    if name in FETCHED:
        return _fetched(name)
    path = Path(source)
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError as error:  # a folder on the way that may not be searched, too long a name
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot read {name}: {reason}; check the path and its owner") from error
    if is_folder:
        return read_folder(path, raw=raw)
    if path.suffix.lower() in JSON_LINES:
        return read_json_lines(path, field=field)
    if not is_there:
        if name in DATASETS:
            raise InputError(f"the data {name!r} are {DATASETS[name].kind}, no text")
        raise InputError(f"no data {name!r}: neither a file, nor a folder, nor one of {names}")
    return read_text(path, raw=raw)


def _fetched(name: str) -> Corpus:
    path = find(name)
    if path is None:
        raise InputError(
            f"the data {name!r} is not on this machine; `tinygen data fetch {name}` gets it, "
            "and `--data docs` needs nothing"
        )
    dataset = DATASETS[name]
    return Corpus(name, (read_file(path),), dataset.origin, dataset.licence)
