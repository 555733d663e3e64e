"""Class labels as vectors, with one for "no class"."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen import ops
from tinygen.backend import Array, backend_of
from tinygen.errors import ShapeError
from tinygen.function import Value
from tinygen.nn import init
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.nn.sizes import require_sizes
from tinygen.random import Generator


class ClassEmbedding(Module):
    """y = weight[ids]: ids (N,) in [0, classes] -> (N, width); id `classes` means "no class".

    A model that sees some examples without their class learns both p(x | class) and p(x), which
    classifier-free guidance combines (Ho and Salimans 2021).
    """

    def __init__(self, classes: int, width: int, *, rng: Generator) -> None:
        require_sizes("ClassEmbedding", classes=classes, width=width)
        self.weight = Parameter(init.normal((classes + 1, width), std=0.02, rng=rng))
        self.classes = classes

    def forward(self, ids: Value) -> Any:
        return ops.embedding(ids, self.weight)

    def condition(self, y: Value, n: int) -> Any:
        """The vectors (n, width) of the classes y (n,), or of "no class" where y is None."""
        ids = self.none(n) if y is None else y
        if getattr(ids, "shape", None) != (n,):
            raise ShapeError(
                f"the classes y have shape {getattr(ids, 'shape', None)}; give an array with one "
                f"for each example: ({n},)."
            )
        return self(ids)

    def none(self, n: int) -> Array:
        """n times "no class"."""
        return backend_of([self.weight.data]).asarray(np.full(n, self.classes))

    def settings(self) -> str:
        return f"{self.classes} + 1 x {self.weight.shape[1]}"
