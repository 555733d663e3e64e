"""Reading whole files and listing folders, with an error that says what is wrong."""

import os
from collections.abc import Iterator
from pathlib import Path

from tinygen.errors import InputError
from tinygen.files import StrPath


def read_file(path: StrPath) -> bytes:
    """Return the bytes of the ordinary file `path`; raises InputError.

    Pipes, sockets and devices are refused: reading one may never end.
    """
    try:
        return ordinary_file(path).read_bytes()
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def ordinary_file(path: StrPath) -> Path:
    """`path`, if an ordinary file is there (or a link to one); InputError otherwise."""
    source = Path(path)
    try:
        if source.is_dir():
            raise InputError(f"cannot read {path}: it is a folder; name a file in it")
        source.stat()
        if not source.is_file():
            raise InputError(
                f"cannot read {path}: it is no ordinary file; copy the data to a file first"
            )
    except FileNotFoundError as error:
        raise InputError(f"cannot read {path}: there is no such file; check the path") from error
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unreadable(path, error) from error
    return source


def _unreadable(path: StrPath, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or str(error)
    return InputError(f"cannot read {path}: {reason.lower()}")


def visible_files(root: Path, skipped: list[str]) -> Iterator[str]:
    """The files below `root` as relative paths, with "/" on every system, in no certain order.

    Hidden ones are left out, links to folders are not followed; folders that cannot be listed go
    to `skipped`.
    """

    def unlisted(error: OSError) -> None:
        skipped.append(f"{Path(error.filename).relative_to(root).as_posix()}: {error.strerror}")

    for folder, folders, names in os.walk(root, onerror=unlisted):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                yield Path(folder, name).relative_to(root).as_posix()
