"""Checkpoints: what goes in comes out, and every kind of damage is one kind of error."""

import errno
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from tinygen import files
from tinygen.checkpoints import load_state, load_tensors, save_state, save_tensors
from tinygen.checkpoints.state import _seal
from tinygen.errors import (
    CheckpointError,
    DtypeError,
    OutputError,
    UnavailableError,
    UsageError,
)

names = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1)
arrays = npst.arrays(
    st.sampled_from(["float32", "float64", "int64", "uint8", "bool"]),
    npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**300), 2**300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
values = scalars | st.lists(scalars)
states = st.dictionaries(
    st.sampled_from(["model", "optimizer", "rest"]),
    st.recursive(
        st.dictionaries(names, arrays | values, max_size=3),
        lambda inner: st.dictionaries(names, inner | arrays | values, max_size=3),
        max_leaves=4,
    ),
)
STATE = {
    "model": {"weight": np.arange(12, dtype=np.float32).reshape(3, 4), "bias": np.zeros(3)},
    "optimizer": {"0": {"mean": np.full(4, 0.1), "step": 7}},
    "rng": {"key": "00ff", "block": 2**200},
}


def same(a: Any, b: Any) -> bool:
    """Equal in structure, types and bits."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, np.ndarray):
        described = (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        return isinstance(b, np.ndarray) and described
    return type(a) is type(b) and bool(a == b)


@given(states)
def test_states_round_trip_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, state: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("state") / "step"
    save_state(folder, state)
    assert same(load_state(folder), state)


@given(st.dictionaries(names, arrays))
def test_tensors_round_trip_in_any_layout(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("tensors") / "t.safetensors"
    turned = {
        name: tensor[..., ::-1].T if tensor.ndim else tensor for name, tensor in tensors.items()
    }
    save_tensors(path, turned)
    assert same(load_tensors(path), turned)


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "step"
    save_state(folder, STATE)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for place in range(len(whole)):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << place % 8
            path.write_bytes(damaged)
            with pytest.raises(CheckpointError):
                load_state(folder)
        path.write_bytes(whole)
    assert same(load_state(folder), STATE)


def test_every_truncation_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "step"
    save_state(folder, STATE)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            with pytest.raises(CheckpointError):
                load_state(folder)
        path.unlink()
        with pytest.raises(CheckpointError, match="missing"):
            load_state(folder)
        path.write_bytes(whole)


@given(st.binary(max_size=200))
def test_any_bytes_as_tensors_are_a_checkpoint_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("tensors") / "t.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        load_tensors(path)


@pytest.mark.parametrize(
    "header",
    [
        {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 400]}},
        {"w": {"dtype": "F32", "shape": [2**60, 2**60], "data_offsets": [0, 8]}},
        {"w": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}},
        {"w": {"dtype": "NOPE", "shape": [2], "data_offsets": [0, 8]}},
        {"w": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}},
        {"w": {}},
        [],
    ],
)
def test_a_lying_header_is_a_checkpoint_error(tmp_path: Path, header: Any) -> None:
    text = json.dumps(header).encode()
    path = tmp_path / "t.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(CheckpointError):
        load_tensors(path)


def test_a_full_disk_leaves_no_half_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The n-th write fails, for every n: an OutputError, and nothing is there."""
    writes = 0

    def failing(path: Path, data: bytes) -> int:
        nonlocal writes
        writes -= 1
        if writes < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, data)

    real = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", failing)
    for number in range(3):
        writes = number
        with pytest.raises(OutputError, match="no space left on device"):
            save_state(tmp_path / "step", STATE)
        assert list(tmp_path.iterdir()) == []
    writes = 3
    save_state(tmp_path / "step", STATE)
    assert same(load_state(tmp_path / "step"), STATE)


def test_an_interrupted_sync_leaves_no_half_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files.os, "fsync", failing)
    with pytest.raises(OutputError):
        save_state(tmp_path / "step", STATE)
    assert list(tmp_path.iterdir()) == []


def test_without_safetensors_the_cure_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(UnavailableError, match="pip install safetensors"):
        save_tensors(tmp_path / "t.safetensors", {})


def test_a_checkpoint_of_another_format_or_kind_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "step"
    save_state(folder, STATE)
    sealed = json.loads((folder / "state.json").read_text())
    del sealed["sha256"]
    (folder / "state.json").write_bytes(_seal({**sealed, "format": 2}))
    with pytest.raises(CheckpointError, match="has checkpoint format 2, and this tinygen reads"):
        load_state(folder)
    with pytest.raises(CheckpointError, match="cannot read"):
        load_tensors(folder)


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ({"model": {"a/b": np.zeros(1)}}, DtypeError, "keys of a state"),
        ({"model": {1: np.zeros(1)}}, DtypeError, "keys of a state"),
        ({"model": {"list": [{1: 2}]}}, DtypeError, "keys of a state"),
        ({"../escaped": {"w": np.zeros(1)}}, UsageError, r"names a file.*\.\./escaped"),
        ({"/tmp/escaped": {"w": np.zeros(1)}}, UsageError, "names a file"),
        ({"a\\b": {"w": np.zeros(1)}}, UsageError, "names a file"),
        ({"": {"w": np.zeros(1)}}, UsageError, "names a file"),
        ({1: {"w": np.zeros(1)}}, UsageError, "names a file"),
        ({"model": {"__metadata__": np.zeros(1)}}, UsageError, "cannot be named '__metadata__'"),
        ({"model": {"\ud800": np.zeros(1)}}, UsageError, "cannot be named"),
        ({"model": {"w": np.zeros(1, complex)}}, DtypeError, "w is complex128"),
        ({"model": {"w": np.zeros(1, np.longdouble)}}, DtypeError, "convert"),
        ({"model": {"w": np.array(["a"])}}, DtypeError, "w is <U1"),
        ({"model": {"w": np.array([None])}}, DtypeError, "w is object"),
        ({"w": np.zeros(1)}, DtypeError, "w is ndarray.*into a dict"),
        ({"loop": {"loss": float("nan")}}, UsageError, "loop/loss is nan"),
        ({"loop": {"losses": [0.5, float("inf")]}}, UsageError, "loop/losses/1 is inf"),
        ({"loop": {"loss": np.float32(1)}}, DtypeError, r"loop/loss is float32.*\.item\(\)"),
        ({"loop": {"when": {1, 2}}}, DtypeError, "loop/when is set"),
    ],
)
def test_what_could_not_come_back_is_refused_before_anything_is_written(
    tmp_path: Path, state: dict[Any, Any], error: type[Exception], message: str
) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    with pytest.raises(error, match=message):
        save_state(folder / "step", state)
    assert list(tmp_path.rglob("*")) == [folder]


def test_tensors_of_a_name_or_dtype_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="__metadata__"):
        save_tensors(tmp_path / "t.safetensors", {"__metadata__": np.zeros(1)})
    with pytest.raises(DtypeError, match="complex64"):
        save_tensors(tmp_path / "t.safetensors", {"w": np.zeros(1, np.complex64)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"state": None},
        {"state": []},
        {"files": None},
        {"files": {"model.safetensors": None}},
        {"files": {"model.safetensors": {}}},
        {"files": {"../../x": {"bytes": 1, "sha256": ""}}},
        {"files": {"../step/model.safetensors": {"bytes": 1, "sha256": ""}}},
        {"files": {"state.json": {"bytes": 1, "sha256": ""}}},
        {"format": None},
        {"state": {"model": 5, "optimizer": {}}},
        {"state": {"model": {"bias": 1}, "optimizer": {}}},
        {"state": {"model": {}, "optimizer": {"0": "a"}}},
    ],
)
def test_a_seal_does_not_make_a_malformed_state_good(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    folder = tmp_path / "step"
    save_state(folder, STATE)
    sealed = json.loads((folder / "state.json").read_text())
    del sealed["sha256"]
    (folder / "state.json").write_bytes(_seal({**sealed, **change}))
    with pytest.raises(CheckpointError):
        load_state(folder)


@pytest.mark.parametrize("body", [{}, {"format": 1}])
def test_a_sealed_state_without_its_entries_is_damage(tmp_path: Path, body: dict[str, Any]) -> None:
    (tmp_path / "state.json").write_bytes(_seal(body))
    with pytest.raises(CheckpointError):
        load_state(tmp_path)
