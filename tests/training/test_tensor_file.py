"""safetensors files in blocks: any view, any size of block, and headers that lie."""

import json

import numpy as np
import pytest

import tinygen as tg
from tinygen.checkpoints import TensorFile, load_tensors, save_tensors, tensor_file
from tinygen.errors import CheckpointError


def test_every_truncation_and_every_longer_file_is_found(tmp_path):
    path = tmp_path / "t.safetensors"
    save_tensors(path, {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2)})
    whole = path.read_bytes()
    for length in [*range(len(whole)), len(whole) + 1]:
        path.write_bytes((whole + b"\0")[:length])
        with pytest.raises(CheckpointError, match="damaged"):
            TensorFile(path)


def test_a_file_that_lies_is_found(tmp_path):
    path = tmp_path / "t.safetensors"
    a = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    b = {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]}
    lies = [
        {"a": a, "b": {**b, "data_offsets": [4, 8]}},  # an overlap
        {"a": a, "b": {**b, "data_offsets": [9, 13]}},  # a gap
        {"a": a},  # bytes of nobody
        {"a": {**a, "shape": [3]}, "b": b},
        {"a": {**a, "shape": [-2]}, "b": b},
        {"a": {**a, "shape": [2.0]}, "b": b},
        {"a": {**a, "shape": None}, "b": b},
        {"a": {**a, "dtype": "F8_E4M3"}, "b": b},
        {"a": {**a, "data_offsets": [8, 0]}, "b": b},
        {"a": {**a, "data_offsets": [0]}, "b": b},
        {"a": 3},
        [],
    ]
    good = {"a": a, "b": b}
    for header in [good, *lies]:
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(12))
        if header is good:
            with TensorFile(path) as file:
                assert file.entries["b"].shape == (1,)
            continue
        with pytest.raises(CheckpointError, match="damaged"):
            TensorFile(path)
    twice = json.dumps({"a": a, "b": b})[:-1] + ', "a": 1}'
    path.write_bytes(len(twice).to_bytes(8, "little") + twice.encode() + bytes(12))
    with pytest.raises(CheckpointError, match="twice"):
        TensorFile(path)


def test_any_view_and_any_size_of_block_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_file, "BLOCK", 40)
    values = tg.random.Generator(0).normal((7, 3, 2))
    path = tmp_path / "t.safetensors"
    tensor_file.write_tensors(path, {"a": values, "t": values.T, "none": values[:0]})
    expected = load_tensors(path)
    assert np.array_equal(expected["t"], values.T)
    with TensorFile(path) as file:
        out = np.zeros((2, 3, 7))
        file.read_into("a", out.T)
        assert np.array_equal(out.T, values)
        file.read_into("none", np.zeros((0, 3, 2)))
