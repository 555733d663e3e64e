"""States on disk.

A *state* is a nested dict whose leaves are arrays or JSON values. Saved, it is a folder:

    model.safetensors       the arrays of state["model"], named by their path inside it
    optimizer.safetensors   and so on: one file for each top-level entry that holds arrays
    state.json              everything else, the size and SHA-256 of each file, and its own SHA-256

The folder appears whole or not at all. What could not come back is refused before anything is
written: UsageError for a name or a number that cannot be saved, DtypeError for a type. Reading
raises CheckpointError for every kind of damage and nothing else: a truncated file, a flipped bit, a
missing file, a header that lies.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.errors import CheckpointError, DtypeError, UnavailableError, UsageError
from tinygen.files import StrPath, atomic_folder, write_atomically

State = dict[str, Any]
Array = np.ndarray[Any, Any]

_FORMAT = 1
_SEPARATOR = "/"
_SUFFIX = ".safetensors"
_PART = re.compile(r"\w[\w.-]*")  # a top-level entry names a file: in this folder, on every system
_METADATA = "__metadata__"  # what safetensors calls something else than an array


def save_tensors(path: StrPath, tensors: Mapping[str, Array]) -> None:
    """Write `tensors` as one safetensors file, atomically. Raises OutputError, and UsageError or
    DtypeError for what cannot be saved."""
    _require_savable(tensors)
    write_atomically(path, _encode(tensors))


def load_tensors(path: StrPath) -> dict[str, Array]:
    """The tensors of a safetensors file, as read-only arrays. Raises CheckpointError."""
    return _decode(_read(Path(path)), Path(path))


def save_state(folder: StrPath, state: State) -> None:
    """Write a nested state as the new folder `folder`, atomically. Raises OutputError, and
    UsageError or DtypeError for what cannot be saved."""
    values: State = {}
    tensors: dict[str, dict[str, Array]] = {}
    for part, content in state.items():
        if not isinstance(part, str) or not _PART.fullmatch(part):
            raise UsageError(
                f"a top-level key of a state names a file, of letters, digits, '_', '-' and '.', "
                f"and this is {part!r}; rename it"
            )
        values[part], tensors[part] = _split(content, part)
        _require_savable(tensors[part])
    with atomic_folder(folder) as unfinished:
        files: dict[str, dict[str, Any]] = {}
        for part in filter(tensors.get, tensors):
            data = _encode(tensors[part])
            name = f"{part}{_SUFFIX}"
            (unfinished / name).write_bytes(data)
            files[name] = {"bytes": len(data), "sha256": _digest(data)}
        body = {"format": _FORMAT, "files": files, "state": values}
        (unfinished / "state.json").write_bytes(_seal(body))


def load_state(folder: StrPath) -> State:
    """The state that `save_state` wrote, every byte of it checked. Raises CheckpointError."""
    folder = Path(folder)
    path = folder / "state.json"
    body = _unseal(_read(path), path)
    if body.get("format") != _FORMAT:
        raise CheckpointError(
            f"{folder} has checkpoint format {body.get('format')!r}, and this tinygen reads "
            f"format {_FORMAT}; use the version of tinygen that wrote it"
        )
    state, files = body.get("state"), body.get("files")
    if not isinstance(state, dict) or not isinstance(files, dict):
        raise _damaged(path, "it has no state, or no list of files")
    for name, expected in files.items():
        part = name.removesuffix(_SUFFIX)
        if part == name or not _PART.fullmatch(part) or not isinstance(expected, dict):
            raise _damaged(path, f"it names the file {name!r}, which is none of a checkpoint")
        data = _read(folder / name)
        if len(data) != expected.get("bytes"):
            raise _damaged(folder / name, f"it has {len(data)} of {expected.get('bytes')} bytes")
        if _digest(data) != expected.get("sha256"):
            raise _damaged(folder / name, "its SHA-256 is not the one in state.json")
        for place, tensor in _decode(data, folder / name).items():
            if not _insert(state, [part, *place.split(_SEPARATOR)], tensor):
                raise _damaged(
                    folder / name, f"its array {place!r} has the place of something else"
                )
    return state


# ---- the two halves of a state: arrays in safetensors, the rest in JSON --------------------------


def _split(value: Any, path: str) -> tuple[Any, dict[str, Array]]:
    """The JSON part of `value`, with arrays left out, and the arrays by their path."""
    if not isinstance(value, dict):
        _require_json(value, path)
        return value, {}
    rest: State = {}
    tensors: dict[str, Array] = {}
    for key, entry in value.items():
        if not isinstance(key, str) or _SEPARATOR in key:
            raise DtypeError(
                f"keys of a state are strings without {_SEPARATOR!r}: {path} has {key!r}; rename it"
            )
        if isinstance(entry, np.ndarray):
            tensors[key] = entry
        else:
            rest[key], inner = _split(entry, f"{path}{_SEPARATOR}{key}")
            tensors |= {f"{key}{_SEPARATOR}{name}": tensor for name, tensor in inner.items()}
    return rest, tensors


def _require_json(value: Any, path: str) -> None:
    """Refuse what JSON would not give back."""
    if isinstance(value, (list, tuple)):
        for i, entry in enumerate(value):
            _require_json(entry, f"{path}{_SEPARATOR}{i}")
    elif isinstance(value, dict):
        for key, entry in value.items():
            if not isinstance(key, str):
                raise DtypeError(f"keys of a state are strings: {path} has {key!r}; rename it")
            _require_json(entry, f"{path}{_SEPARATOR}{key}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{path} is {value}, which JSON does not have; save it in an array")
    elif value is not None and not isinstance(value, (bool, int, float, str)):
        cure = "use .item()" if isinstance(value, np.generic) else "put arrays into a dict"
        raise DtypeError(
            f"{path} is {type(value).__name__}; a state holds dicts of arrays, and of numbers, "
            f"texts, True, False, None and lists of them: {cure}"
        )


def _insert(state: State, path: list[str], tensor: Array) -> bool:
    """Put `tensor` at `path`; False where that is taken."""
    *parents, name = path
    inner: Any = state
    for parent in parents:
        inner = inner.setdefault(parent, {})
        if not isinstance(inner, dict):
            return False
    return inner.setdefault(name, tensor) is tensor


def _seal(body: State) -> bytes:
    """`body` as JSON text that carries its own SHA-256."""
    content = json.dumps(body, allow_nan=False)
    sealed = {"sha256": _digest(content.encode()), **body}
    return (json.dumps(sealed, indent=1, allow_nan=False) + "\n").encode()


def _unseal(data: bytes, path: Path) -> State:
    """The body that `_seal` wrote; any other bytes, were it one space, are damage."""
    try:
        body = json.loads(data)
        del body["sha256"]
        intact = _seal(body) == data
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, "it is not the JSON that tinygen writes") from error
    if not intact:
        raise _damaged(path, "its content does not agree with its SHA-256")
    assert isinstance(body, dict)
    return body


# ---- bytes ---------------------------------------------------------------------------------------


def _require_savable(tensors: Mapping[str, Array]) -> None:
    """Refuse the names and dtypes that a safetensors file does not take."""
    for name, tensor in tensors.items():
        text = isinstance(name, str) and not any("\ud800" <= c <= "\udfff" for c in name)
        if name == _METADATA or not text:  # half a surrogate pair is no text
            raise UsageError(f"an array in a safetensors file cannot be named {name!r}; rename it")
        dtype = getattr(tensor, "dtype", None)
        if dtype is None or dtype.kind not in "biuf" or dtype.itemsize > 8:
            raise DtypeError(
                f"{name} is {dtype or type(tensor).__name__}; a safetensors file holds arrays of "
                "booleans, integers and real numbers up to 64 bits: convert it"
            )


def _encode(tensors: Mapping[str, Array]) -> bytes:
    # The package writes the raw buffer of an array, whatever its strides: only C order is right.
    contiguous = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    return bytes(_safetensors().save(contiguous))


def _decode(data: bytes, path: Path) -> dict[str, Array]:
    safetensors = _safetensors()
    try:
        return dict(safetensors.load(data))
    except Exception as error:  # the package documents no exceptions; each one means bad bytes
        raise _damaged(path, f"it is no readable safetensors file ({error})") from error


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise UnavailableError(
            "checkpoints need the package safetensors, which is not installed: "
            "pip install safetensors"
        ) from error
    return safetensors.numpy


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; restore it or use another checkpoint") from error
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from error


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{path} is damaged: {reason}; restore it or use another checkpoint")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
