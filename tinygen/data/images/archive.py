"""Reading from a zip archive that may lie: no member is unpacked beyond what it said and may be."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinygen.data.images.limits import MAX_BYTES, read_at_most
from tinygen.data.reading import ordinary_file
from tinygen.errors import InputError


class Archive:
    """An open zip archive. Nothing is written to the disk, so member names can do no harm."""

    def __init__(self, file: zipfile.ZipFile, path: Path):
        self.path = path
        self._file = file
        self._left = MAX_BYTES
        self.members = {info.filename: info for info in file.infolist() if not info.is_dir()}

    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        """The content of a member, whose checksum is right; InputError otherwise."""
        info = self.members[name]
        if info.file_size > min(limit, self._left):
            raise InputError(
                f"{self.path}: {name} unpacks to {info.file_size:,} bytes, above the limit"
            )
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(
                f"{self.path}: {name} is packed by method {info.compress_type}; "
                "pack it again by deflate"
            )
        self._left -= info.file_size
        with _zip_errors(self.path, name), self._file.open(info) as member:
            content = read_at_most(member, info.file_size + 1)
        if len(content) != info.file_size:
            raise InputError(f"{self.path}: {name} is not as long as the archive says: damaged")
        return content


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """The zip archive `path`; InputError where it is none, or damaged."""
    with _zip_errors(path, "its directory"):
        file = zipfile.ZipFile(ordinary_file(path))
    with file:
        yield Archive(file, path)


@contextmanager
def _zip_errors(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except NotImplementedError as error:
        raise InputError(f"{path}: {what} needs what no plain zip has ({error})") from error
    except RuntimeError as error:  # this is how zipfile asks for a password
        raise InputError(f"{path}: {what} is encrypted; unpack it first") from error
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error, ValueError, OverflowError) as error:
        raise InputError(f"{path}: {what} is damaged ({error}); get it again") from error
