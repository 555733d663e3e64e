"""Linear maps of one axis of an image, as matrices: (outputs, inputs).

A matrix is what the CPU's own code makes of the unit vectors, so that the definition stands once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygen.backend.geometry import Pair
from tinygen.backend.numpy_backend.pooling import avg_pool
from tinygen.backend.numpy_backend.resize import resize

Matrix: TypeAlias = NDArray[np.float64]
Map: TypeAlias = Callable[[int, int], Matrix]
"""From an axis's length and its number, 0 for rows and 1 for columns, to its matrix."""


@lru_cache(maxsize=256)
def avg_pool_map(
    n: int, axis: int, *, kernel: Pair, stride: Pair, padding: Pair, count_include_pad: bool
) -> Matrix:
    """The mean of each window of an axis of n; that of two axes is one after the other."""
    rows = (kernel[axis], 1), (stride[axis], 1), (padding[axis], 0)
    return _matrix(avg_pool(_unit_vectors(n), *rows, count_include_pad))


@lru_cache(maxsize=256)
def resize_map(n: int, m: int, mode: str) -> Matrix:
    """From n pixels to m."""
    return _matrix(resize(_unit_vectors(n), (m, 1), mode))


def _unit_vectors(n: int) -> Matrix:
    """n images, one a channel, of a column of n pixels: (1, n, 1, n)."""
    return np.eye(n).reshape(1, n, 1, n)


def _matrix(images: Any) -> Matrix:
    result: Matrix = images[0, :, 0, :]
    return result
