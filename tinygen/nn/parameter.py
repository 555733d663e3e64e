"""The two kinds of state that a module owns: what is learned, and what is merely kept."""

from __future__ import annotations

from tinygen.backend import Array
from tinygen.tensor import Tensor


class Parameter(Tensor):
    """A leaf that is learned: `Parameter(init.zeros((3,)))`. It takes the array without a copy."""

    __slots__ = ()

    def __init__(self, data: Array | Tensor, requires_grad: bool = True) -> None:
        super().__init__(data.data if isinstance(data, Tensor) else data, requires_grad)


class Buffer(Tensor):
    """State that belongs to the checkpoint but is not learned: running statistics, a table."""

    __slots__ = ()

    def __init__(self, data: Array | Tensor, requires_grad: bool = False) -> None:
        super().__init__(data.data if isinstance(data, Tensor) else data, requires_grad)
