"""Writing that is all or nothing: a reader sees the old state or the new one, never a part.

What is new is first written beside its target under a name of its own, forced to the disk (fsync),
and only then renamed; a rename within one file system is atomic. The folder is forced to the disk
last, so that the new name too survives a power cut. Where anything fails, the temporary file or
folder is removed and the target is as it was; only a killed process can leave one behind, and
`remove_leftovers` clears those.
"""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tinygen.errors import OutputError, TinygenError

StrPath = str | os.PathLike[str]

_SUFFIX = ".tinygen-unfinished"

_ADVICE = {
    errno.ENOSPC: "free some space or choose another disk",
    errno.EDQUOT: "free some space or choose another disk",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that you may write to",
    errno.ENOENT: "make the folder first, or correct the path",
    errno.ENOTDIR: "correct the path: a part of it is a file",
    errno.EEXIST: "a file of that name is in the way: move it, or choose another path",
    errno.EFBIG: "files of this size are not allowed here: choose another disk, or raise ulimit -f",
}


def write_atomically(path: StrPath, data: bytes) -> None:
    """Write `data` to the file `path`, replacing what it held.

    A symbolic link is followed. Raises OutputError where the file cannot be written (no
    permission, no space, no such folder, or something other than a file stands there).
    """
    with output_errors(path):
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            raise OutputError(f"cannot write {path}: it is no ordinary file; choose another path")
        unfinished = _unfinished(target)
        try:
            with open(unfinished, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, target)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        _sync(target.parent)


@contextmanager
def atomic_folder(path: StrPath) -> Iterator[Path]:
    """Yield an empty folder to fill; when the block ends well, it becomes `path`.

    `path` must not exist yet. Where the block raises, nothing is left. An OSError in the block
    counts as a failed write. Raises OutputError.
    """
    with output_errors(path):
        target = Path(os.path.abspath(path))
        if os.path.lexists(target):
            raise OutputError(
                f"cannot write {path}: it exists already; remove it or choose another"
            )
        unfinished = _unfinished(target)
        unfinished.mkdir()
        try:
            yield unfinished
            for folder, _, names in os.walk(unfinished):
                for name in names:
                    _sync(Path(folder, name))
                _sync(Path(folder))
            os.rename(unfinished, target)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        _sync(target.parent)


@contextmanager
def made_parents(path: StrPath) -> Iterator[list[Path]]:
    """Make the folders above `path` that are missing; where the block raises, they go again.

    Yields those that were made, the innermost first. Raises OutputError.
    """
    made: list[Path] = []
    with output_errors(path):
        try:
            missing = Path(os.path.abspath(path)).parent
            above = []
            while not os.path.lexists(missing):
                above.append(missing)
                missing = missing.parent
            for folder in reversed(above):
                folder.mkdir(exist_ok=True)
                made.insert(0, folder)
            yield made
        except BaseException:
            remove_empty(made)
            raise


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove those of `folders` that are empty, the first ones first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def require_writable(path: StrPath, *, parents: bool = False) -> None:
    """Raises OutputError where `path` could not be made: found out before the work, not after it.

    With `parents` the folders above it may be missing too, as long as they can be made.
    """
    target = Path(os.path.abspath(path))
    while parents and not os.path.lexists(target.parent):
        target = target.parent
    with output_errors(path):
        probe = _unfinished(target)
        probe.mkdir()
        probe.rmdir()


def remove_leftovers(folder: StrPath) -> None:
    """Remove the unfinished files and folders that a killed process left in `folder`.

    Only for a folder with one writer: what another process is writing at this moment would go too.
    """
    for leftover in Path(folder).glob(f"*{_SUFFIX}"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


@contextmanager
def output_errors(path: StrPath) -> Iterator[None]:
    """Turn an OSError of the block into an OutputError that names `path`, the reason and a cure."""
    try:
        yield
    except TinygenError:
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        advice = _ADVICE.get(error.errno or 0, "choose another path")
        raise OutputError(f"cannot write {path}: {reason}; {advice}") from error


def _unfinished(target: Path) -> Path:
    """A new name beside `target`: short, so that the longest legal name still works."""
    return target.with_name(f".{os.urandom(8).hex()}{_SUFFIX}")


def _sync(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk."""
    if os.name == "nt":
        return  # Windows opens no folder, and forces nothing out through a read-only handle
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
