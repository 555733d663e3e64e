"""Tensors and states on disk: safetensors files, JSON, SHA-256; no pickle anywhere."""

from tinygen.checkpoints.state import State, load_state, load_tensors, save_state, save_tensors
from tinygen.checkpoints.tensor_file import TensorFile, write_tensors

__all__ = [
    "State",
    "TensorFile",
    "load_state",
    "load_tensors",
    "save_state",
    "save_tensors",
    "write_tensors",
]
