"""Data from its origin: downloaded once, checked by SHA-256, and from then on read from disk.

A download goes to a `.part` file beside its place. A cut connection leaves it there, and the next
`fetch` asks a server for the rest only, the same one or another. The file takes its name when all
of it is there and its hash is right, so what has the name is whole.
"""

import gzip
import hashlib
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tinygen.data.datasets import DATASETS, Dataset, RemoteFile
from tinygen.data.reading import ordinary_file
from tinygen.errors import InputError, TinygenError, UnavailableError, UsageError
from tinygen.files import StrPath, output_errors

_CHUNK = 1 << 20
_SECONDS = 30.0  # without a byte, before the connection is given up
_LARGEST = 1 << 30  # bytes that a gzipped file may unpack to while its content is hashed

Progress = Callable[[int, int], None]


def data_folder() -> Path:
    """Where fetched data live: TINYGEN_DATA, or `tinygen` in the platform's cache folder."""
    chosen = os.environ.get("TINYGEN_DATA")
    return Path(chosen) if chosen else _cache_folder()


def find(name: str) -> Path | None:
    """The verified local file of a dataset, or the folder of its files; None if not all are here.

    TINYGEN_DATA comes before the cache. Raises InputError where a file is there under its name but
    its content is not the original.
    """
    dataset = _dataset(name)
    for folder in (data_folder(), _cache_folder()):
        if all((folder / file.filename).is_file() for file in dataset.files):
            for file in dataset.files:
                _verify(folder / file.filename, file)
            return folder / dataset.place
    return None


def fetch(
    name: str,
    folder: StrPath | None = None,
    *,
    offline: bool = False,
    progress: Progress | None = None,
) -> Path:
    """What `find` gives, with all that is missing downloaded into `folder` first.

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
    root = Path(folder if folder is not None else data_folder())
    done = 0
    for file in dataset.files:
        path = root / file.filename
        if path.is_file():
            _verify(path, file)
        elif offline:
            raise UnavailableError(_advice(file, path, "it is not here, and offline"))
        else:
            _fetch_file(file, path, progress and _shifted(progress, done, dataset.size))
        done += file.size
    return root / dataset.place


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    return lambda have, _: progress(before + have, total)


def _fetch_file(file: RemoteFile, path: Path, progress: Progress | None) -> None:
    """From the first mirror that gives the original; each failure is told if all fail."""
    part = path.with_name(path.name + ".part")
    with output_errors(part):
        part.parent.mkdir(parents=True, exist_ok=True)
    failures: list[TinygenError] = []
    for url in file.urls:
        try:
            _download(url, file, part, progress)
            _verify_part(url, file, part)
        except (UnavailableError, InputError) as error:
            failures.append(error)
            continue
        with output_errors(path):
            os.replace(part, path)
        return
    reasons = "; ".join(map(str, failures))
    if all(isinstance(error, InputError) for error in failures):
        raise InputError(reasons)
    raise UnavailableError(_advice(file, path, reasons))


def _download(url: str, file: RemoteFile, part: Path, progress: Progress | None) -> None:
    """Bring `part` to its full size, from where it stands."""
    import urllib.request  # slow to load, and most commands only ask for what is on disk

    have = part.stat().st_size if part.exists() else 0
    if have == file.size:
        return  # all of it came before; only the verification was missed
    headers = {"Range": f"bytes={have}-"} if 0 < have < file.size else {}
    request = urllib.request.Request(url, headers=headers)
    with _network(url):
        answer = urllib.request.urlopen(request, timeout=_SECONDS)
    with answer:
        resumed = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        have = have if resumed else 0  # a server without ranges sends all of it again
        with output_errors(part), open(part, "ab" if resumed else "wb") as stored:
            while have < file.size:
                with _network(url):
                    chunk = answer.read(_CHUNK)
                if not chunk:
                    raise UnavailableError(
                        f"{url}: the connection ended after {have:,} of {file.size:,} bytes"
                    )
                stored.write(chunk)
                have += len(chunk)
                if progress is not None:
                    progress(min(have, file.size), file.size)
            stored.flush()
            os.fsync(stored.fileno())


# ---- is it the original? -------------------------------------------------------------------------


def _verify(path: Path, file: RemoteFile) -> None:
    """InputError unless `path` has the original content."""
    size, sha256 = _size_and_hash(path)
    if sha256 == file.sha256 or _has_content(path, file):
        return
    raise InputError(
        f"{path} is not the original ({_found(size, sha256, file)}); remove it and fetch it again"
    )


def _verify_part(url: str, file: RemoteFile, part: Path) -> None:
    """The same for a finished download, which is removed unless it is the original."""
    size, sha256 = _size_and_hash(part)
    if sha256 == file.sha256:
        return
    part.unlink()
    raise InputError(
        f"{url} did not send {Path(file.filename).name} ({_found(size, sha256, file)}); "
        "nothing was kept"
    )


def _found(size: int, sha256: str, file: RemoteFile) -> str:
    return f"{size:,} bytes, sha256 {sha256}; expected {file.size:,}, {file.sha256}"


def _size_and_hash(path: Path) -> tuple[int, str]:
    try:
        with open(ordinary_file(path), "rb") as stored:
            digest = hashlib.file_digest(stored, "sha256")
            return stored.tell(), digest.hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _has_content(path: Path, file: RemoteFile) -> bool:
    """Whether a file that was packed again has the original content."""
    if file.content_sha256 is None:
        return False
    digest, left = hashlib.sha256(), _LARGEST
    try:
        with gzip.open(path) as content:
            while left > 0 and (chunk := content.read(_CHUNK)):
                digest.update(chunk)
                left -= len(chunk)
    except (OSError, EOFError, zlib.error):
        return False
    return digest.hexdigest() == file.content_sha256


# ---- errors and places ---------------------------------------------------------------------------


@contextmanager
def _network(url: str) -> Iterator[None]:
    from http.client import HTTPException
    from urllib.error import HTTPError

    try:
        yield
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()  # it holds the connection
        raise UnavailableError(f"{url}: the connection failed ({error})") from error


def _advice(file: RemoteFile, path: Path, reason: str) -> str:
    return (
        f"cannot fetch {path.name}: {reason}. Run it again to continue, or get the file by hand: "
        f"put {file.urls[0]} at {path} (sha256 {file.sha256})"
    )


def _dataset(name: str) -> Dataset:
    if name not in DATASETS:
        raise UsageError(f"no dataset is called {name!r}; there are {', '.join(DATASETS)}")
    return DATASETS[name]


def _cache_folder() -> Path:
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "tinygen"
