"""Readers of text: one file, a folder, JSON lines. Each returns a Corpus.

`raw` is for the byte tokenizer, to which any file is text. Without it a file must be UTF-8 and
hold no NUL byte (the sign of a binary file, and of UTF-16).
"""

import json
from collections.abc import Collection
from pathlib import Path

from tinygen.data.corpus import Corpus, decode_utf8
from tinygen.data.reading import read_file, visible_files
from tinygen.errors import InputError
from tinygen.files import StrPath

JSON_LINES = (".jsonl", ".ndjson")


def read_text(path: StrPath, *, raw: bool = False) -> Corpus:
    """The file `path` as one document; InputError where it is missing, empty or binary."""
    return _of_path(path, (_check_text(read_file(path), str(path), raw=raw),))


def read_folder(
    path: StrPath, *, extensions: Collection[str] | None = None, raw: bool = False
) -> Corpus:
    """Every text file below `path`, each a document, in the order of their relative paths.

    With `extensions` (".txt", ".md") only those. Hidden files and folders are left out, links to
    folders are not followed. What is empty, binary or unreadable is skipped, and `skipped` says
    so; InputError where nothing is left.
    """
    root = Path(path)
    if not root.is_dir():
        raise InputError(f"cannot read {path}: there is no such folder; check the path")
    documents: list[bytes] = []
    skipped: list[str] = []
    for name in sorted(visible_files(root, skipped)):
        if extensions is not None and Path(name).suffix.lower() not in extensions:
            skipped.append(f"{name}: not among {', '.join(sorted(extensions))}")
            continue
        try:
            documents.append(_check_text(read_file(root / name), name, raw=raw))
        except InputError as error:
            skipped.append(f"{name}: {error}")
    if not documents:
        found = f"all {len(skipped)} were skipped, first {skipped[0]}" if skipped else "it is empty"
        raise InputError(f"no text in the folder {path}: {found}")
    return _of_path(path, tuple(documents), tuple(skipped))


def read_json_lines(path: StrPath, *, field: str = "text") -> Corpus:
    """One JSON object a line; its string `field` is a document. Blank lines do not count.

    An empty document is skipped. InputError with the line's number where a line is no JSON object,
    or its field is missing or no string.
    """
    # Only "\n" ends a line: U+2028 and its like may stand inside a JSON string.
    lines = decode_utf8(read_file(path), Path(path)).removeprefix("\ufeff").split("\n")
    documents: list[bytes] = []
    skipped: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        document = _json_document(line, field, f"{path}, line {number}")
        if document:
            documents.append(document)
        else:
            skipped.append(f"line {number}: empty")
    if not documents:
        raise InputError(f"no documents in {path}: it has no line with a {field!r} that holds text")
    return _of_path(path, tuple(documents), tuple(skipped))


def _json_document(line: str, field: str, place: str) -> bytes:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: not JSON ({error}); each line must be an object") from error
    if not isinstance(value, dict):
        raise InputError(f"{place}: a JSON {type(value).__name__}, where an object is needed")
    if field not in value:
        names = ", ".join(map(repr, value)) or "none"
        raise InputError(f"{place}: no field {field!r} (it has {names}); name the one with text")
    text = value[field]
    if not isinstance(text, str):
        raise InputError(f"{place}: {field!r} is {type(text).__name__}, where a string is needed")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{place}: {field!r} has half a surrogate pair (\\u{ord(text[error.start]):04x}) at "
            f"character {error.start}; repair the line"
        ) from error


def _check_text(data: bytes, name: str, *, raw: bool) -> bytes:
    if not data:
        raise InputError(f"{name} is empty; there is nothing to learn from")
    if raw:
        return data
    nul = data.find(0)
    if nul >= 0:
        raise InputError(
            f"{name} is binary (or UTF-16): a NUL byte at offset {nul}; "
            "convert it to UTF-8, or ask for the byte tokenizer"
        )
    decode_utf8(data, name)
    return data


def _of_path(path: StrPath, documents: tuple[bytes, ...], skipped: tuple[str, ...] = ()) -> Corpus:
    return Corpus(Path(path).name, documents, f"read from {path}", skipped=skipped)
