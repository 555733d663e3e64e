"""Makes `on_simulator`, what the tests here share, importable; and every launch here holds what
`launch` reads of a kernel's parameters against what the compiler made of them."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tinygen.backend.launch import Kernel, observed

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _parameters_are_read_as_they_are() -> Iterator[None]:
    from on_simulator import DEVICE, assert_read_alike

    def told(backend: Any, kernel: Kernel) -> None:
        assert_read_alike(kernel, backend.module(kernel))

    with observed(told) if DEVICE == "sim" else observed(lambda backend, kernel: None):
        yield
