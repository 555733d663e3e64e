"""Tensors and states on disk: safetensors files, JSON, SHA-256; no pickle anywhere.

A *state* is a nested dict whose leaves are arrays or JSON values. Saved, it is a folder:

    model.safetensors       the arrays of state["model"], named by their path inside it
    optimizer.safetensors   and so on: one file for each top-level entry that holds arrays
    state.json              everything else, the size and SHA-256 of each file, and its own SHA-256

The folder appears whole or not at all. Reading raises CheckpointError for every kind of damage and
nothing else: a truncated file, a flipped bit, a missing file, a header that lies.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.errors import CheckpointError, UnavailableError
from tinygen.files import StrPath, atomic_folder, write_atomically

State = dict[str, Any]
Array = np.ndarray[Any, Any]

_FORMAT = 1
_SEPARATOR = "/"


def save_tensors(path: StrPath, tensors: Mapping[str, Array]) -> None:
    """Write `tensors` as one safetensors file, atomically. Raises OutputError."""
    write_atomically(path, _encode(tensors))


def load_tensors(path: StrPath) -> dict[str, Array]:
    """The tensors of a safetensors file, as read-only arrays. Raises CheckpointError."""
    return _decode(_read(Path(path)), Path(path))


def save_state(folder: StrPath, state: State) -> None:
    """Write a nested state as the new folder `folder`, atomically. Raises OutputError."""
    with atomic_folder(folder) as unfinished:
        values: State = {}
        files: dict[str, dict[str, Any]] = {}
        for part, content in state.items():
            values[part], tensors = _split(content, part)
            if tensors:
                data = _encode(tensors)
                name = f"{part}.safetensors"
                (unfinished / name).write_bytes(data)
                files[name] = {"bytes": len(data), "sha256": _digest(data)}
        body = {"format": _FORMAT, "files": files, "state": values}
        (unfinished / "state.json").write_bytes(_seal(body))


def load_state(folder: StrPath) -> State:
    """The state that `save_state` wrote, every byte of it checked. Raises CheckpointError."""
    folder = Path(folder)
    body = _unseal(_read(folder / "state.json"), folder / "state.json")
    if body["format"] != _FORMAT:
        raise CheckpointError(
            f"{folder} has checkpoint format {body['format']!r}, and this tinygen reads "
            f"format {_FORMAT}; use the version of tinygen that wrote it"
        )
    state: State = body["state"]
    for name, expected in body["files"].items():
        data = _read(folder / name)
        if len(data) != expected["bytes"]:
            raise _damaged(folder / name, f"it has {len(data)} of {expected['bytes']} bytes")
        if _digest(data) != expected["sha256"]:
            raise _damaged(folder / name, "its SHA-256 is not the one in state.json")
        part = name.removesuffix(".safetensors")
        for path, tensor in _decode(data, folder / name).items():
            _insert(state, [part, *path.split(_SEPARATOR)], tensor)
    return state


# ---- the two halves of a state: arrays in safetensors, the rest in JSON --------------------------


def _split(value: Any, path: str) -> tuple[Any, dict[str, Array]]:
    """The JSON part of `value`, with arrays left out, and the arrays by their path."""
    if not isinstance(value, dict):
        return value, {}
    rest: State = {}
    tensors: dict[str, Array] = {}
    for key, entry in value.items():
        if not isinstance(key, str) or _SEPARATOR in key:
            raise TypeError(
                f"keys of a state are strings without {_SEPARATOR!r}: {path} has {key!r}"
            )
        if isinstance(entry, np.ndarray):
            tensors[key] = entry
        else:
            rest[key], inner = _split(entry, f"{path}{_SEPARATOR}{key}")
            tensors |= {f"{key}{_SEPARATOR}{name}": tensor for name, tensor in inner.items()}
    return rest, tensors


def _insert(state: State, path: list[str], tensor: Array) -> None:
    *parents, name = path
    for parent in parents:
        state = state.setdefault(parent, {})
    state[name] = tensor


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
