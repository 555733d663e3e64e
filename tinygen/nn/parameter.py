"""The two kinds of state that a module owns: what is learned, and what is merely kept.

Both take an array, or that of a Tensor, without a copy; lists and numbers as `tg.tensor` does.
"""

from __future__ import annotations

from typing import Any

from tinygen.backend import Array
from tinygen.leaves import tensor
from tinygen.tensor import Tensor


class Parameter(Tensor):
    """A leaf that is learned: `Parameter(init.zeros((3,)))`."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(_array(data), requires_grad)


class Buffer(Tensor):
    """State that belongs to the checkpoint but is not learned: running statistics, a table."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        super().__init__(_array(data), requires_grad)


def _array(data: Any) -> Array:
    if isinstance(data, Tensor):
        return data.data
    return data if hasattr(data, "dtype") else tensor(data).data
