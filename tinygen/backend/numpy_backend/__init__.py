"""The CPU: NumPy, and the hot primitives written for it."""

from __future__ import annotations

from typing import Any

import numpy as np


def tune_allocator() -> bool:
    return False


class NumpyBackend:
    name = "cpu"
    xp = np
    array_type = np.ndarray

    @staticmethod
    def asarray(value: Any) -> Any:
        return np.asarray(value)

    @staticmethod
    def to_numpy(array: Any) -> Any:
        return array

    @staticmethod
    def device_of(array: Any) -> str:
        return "cpu"
