"""Reading a whole file, with an error that says what is wrong with it."""

from pathlib import Path

from tinygen.errors import InputError
from tinygen.files import StrPath


def read_file(path: StrPath) -> bytes:
    """Return the bytes of the ordinary file `path`; raises InputError.

    Pipes, sockets and devices are refused: reading one may never end.
    """
    source = Path(path)
    try:
        if source.is_dir():
            raise InputError(f"cannot read {path}: it is a folder; name a file in it")
        if source.exists() and not source.is_file():
            raise InputError(
                f"cannot read {path}: it is no ordinary file; copy the data to a file first"
            )
        return source.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"cannot read {path}: there is no such file; check the path") from error
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read {path}: {reason.lower()}") from error
