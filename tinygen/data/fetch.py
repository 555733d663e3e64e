"""Data from its origin: downloaded once, checked by SHA-256, and from then on read from disk.

A download goes to a `.part` file beside its place. A cut connection leaves it there, and the next
`fetch` asks the server for the rest only. The file takes its name when all of it is there and its
hash is right, so what has the name is whole.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tinygen.data.reading import read_file
from tinygen.errors import InputError, UnavailableError, UsageError
from tinygen.files import StrPath, output_errors

_CHUNK = 1 << 20
_SECONDS = 30.0  # without a byte, before the connection is given up


@dataclass(frozen=True)
class Dataset:
    """One file of public data; `filename` is its path below the data folder."""

    name: str
    filename: str
    url: str
    sha256: str
    size: int  # bytes
    licence: str
    origin: str


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="tinyshakespeare",
            filename="tinyshakespeare.txt",
            url="https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/"
            "input.txt",
            sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            size=1_115_394,
            licence="public domain (the works of Shakespeare)",
            origin="tinyshakespeare, of karpathy/char-rnn",
        ),
    )
}


def data_folder() -> Path:
    """Where fetched data live: TINYGEN_DATA, or `tinygen` in the platform's cache folder.

    Raises UnavailableError where there is neither.
    """
    chosen = os.environ.get("TINYGEN_DATA")
    return Path(chosen) if chosen else _cache_folder()


def find(name: str) -> Path | None:
    """The verified local file of a dataset, in TINYGEN_DATA or the cache; None if in neither.

    Raises InputError where a file of that name is there but its content is not the original.
    """
    dataset = _dataset(name)
    for place in (data_folder, _cache_folder):
        try:
            path = place() / dataset.filename
        except UnavailableError:  # without a home nothing is kept in it
            continue
        if path.is_file():
            _verify(path, path, dataset)
            return path
    return None


def fetch(
    name: str,
    folder: StrPath | None = None,
    *,
    offline: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """The verified local file of a dataset, downloaded into `folder` if it is not there yet.

    Without a `folder` everything that `find` finds serves; a download goes to `data_folder()`.
    `progress(bytes so far, bytes in all)` is called now and then. Raises UsageError for an unknown
    name, UnavailableError where there is no connection (or `offline` forbids one), InputError
    where the content is not the original, OutputError where it cannot be stored.
    """
    dataset = _dataset(name)
    if folder is None:
        found = find(name)
        if found is not None:
            return found
    path = Path(folder if folder is not None else data_folder()) / dataset.filename
    if path.is_file():
        _verify(path, path, dataset)
        return path
    if offline:
        raise _unavailable(dataset, path, "it is not here, and offline")
    part = path.with_name(path.name + ".part")
    with output_errors(part):
        part.parent.mkdir(parents=True, exist_ok=True)
    _download(dataset, path, part, progress)
    _verify(part, path, dataset)
    with output_errors(path):
        os.replace(part, path)
    return path


def _download(
    dataset: Dataset, path: Path, part: Path, progress: Callable[[int, int], None] | None
) -> None:
    """Bring `part` to its full size, from where it stands."""
    import urllib.request  # slow to load, and most commands only ask for what is on disk

    have = part.stat().st_size if part.exists() else 0
    if have == dataset.size:
        return  # all of it came before; only the verification was missed
    headers = {"Range": f"bytes={have}-"} if 0 < have < dataset.size else {}
    request = urllib.request.Request(dataset.url, headers=headers)
    with _network(dataset, path):
        answer = urllib.request.urlopen(request, timeout=_SECONDS)
    with answer:
        resumed = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        have = have if resumed else 0  # a server without ranges sends all of it again
        with output_errors(part), open(part, "ab" if resumed else "wb") as file:
            while have < dataset.size:
                with _network(dataset, path):
                    chunk = answer.read(_CHUNK)
                if not chunk:
                    ended = f"the connection ended after {have:,} of {dataset.size:,} bytes"
                    raise _unavailable(dataset, path, ended)
                file.write(chunk)
                have += len(chunk)
                if progress is not None:
                    progress(have, dataset.size)
            file.flush()
            os.fsync(file.fileno())


def _verify(file: Path, path: Path, dataset: Dataset) -> None:
    """InputError unless `file` is the original; a finished download that is not is removed."""
    content = read_file(file)
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 == dataset.sha256:
        return
    found = f"{len(content):,} bytes, sha256 {sha256}; expected {dataset.size:,}, {dataset.sha256}"
    if file == path:
        raise InputError(f"{path} is not {dataset.name} ({found}); remove it and fetch it again")
    file.unlink()
    raise InputError(f"{dataset.url} did not send {dataset.name} ({found}); nothing was kept")


@contextmanager
def _network(dataset: Dataset, path: Path) -> Iterator[None]:
    from http.client import HTTPException

    try:
        yield
    except (OSError, HTTPException) as error:
        raise _unavailable(dataset, path, f"the connection failed ({error})") from error


def _unavailable(dataset: Dataset, path: Path, reason: str) -> UnavailableError:
    return UnavailableError(
        f"cannot fetch {dataset.name}: {reason}. Run it again to continue, or get the file by "
        f"hand: put {dataset.url} at {path} (sha256 {dataset.sha256})"
    )


def _dataset(name: str) -> Dataset:
    if name not in DATASETS:
        raise UsageError(f"no dataset is called {name!r}; there are {', '.join(DATASETS)}")
    return DATASETS[name]


def _cache_folder() -> Path:
    if sys.platform == "darwin":
        base = _home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache")
    return base / "tinygen"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:  # no HOME, and no entry for this user
        raise UnavailableError(
            "this user has no home folder to keep data in; set TINYGEN_DATA to a folder"
        ) from error
