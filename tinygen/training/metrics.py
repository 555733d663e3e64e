"""metrics.jsonl: one JSON object a line, each with its `step`; complete lines or none."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tinygen.errors import InputError
from tinygen.files import output_errors, write_atomically


class MetricsLog:
    """An append-only log. Every line is on its way to the disk when `append` returns."""

    def __init__(self, path: Path, *, keep_until: int) -> None:
        """Open `path`, without the lines beyond step `keep_until` or cut off by a crash."""
        self.path = path
        kept = [line for line in read_metrics(path) if line["step"] <= keep_until]
        write_atomically(path, b"".join(map(_encoded, kept)))
        with output_errors(path):
            self._file = path.open("ab", buffering=0)

    def append(self, line: Mapping[str, Any]) -> None:
        """Write one line whole. Raises OutputError, and then the log is as it was."""
        end = os.path.getsize(self.path)
        data = _encoded(line)
        with output_errors(self.path):
            try:
                while data:  # a nearly full disk takes a part
                    data = data[self._file.write(data) :]
            except OSError:
                self._file.truncate(end)
                raise

    def sync(self) -> None:
        """Force the lines so far to the disk, as a checkpoint is."""
        with output_errors(self.path):
            os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a log; an unfinished last one is left out. Raises InputError."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    metrics = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            entry["step"] + 0
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}, line {number}, is no object with a step: {line[:80]!r}; remove that line "
                "or restore the file"
            ) from error
        metrics.append(entry)
    return metrics


def _encoded(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line, allow_nan=False).encode() + b"\n"
