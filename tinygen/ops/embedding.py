"""Integer ids as vectors: rows of a table, and unit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen import ops
from tinygen.backend import Array
from tinygen.errors import OutOfRangeError, ShapeError
from tinygen.function import FusedFunction, Value
from tinygen.ops.casting import real_dtype
from tinygen.ops.checks import whole
from tinygen.ops.indexing import require_array, require_integers
from tinygen.ops.shape import Copy

__all__ = ["embedding", "one_hot"]


class Embedding(FusedFunction):
    """y = weight[ids];  dweight[r] = sum of g over the places where r stands in ids."""

    primitives = ("embedding_forward", "embedding_backward")

    @staticmethod
    def reference(ids: Array, weight: Value) -> Value:
        return ops.take(weight, ids, 0)

    def forward(self, ids: Array, weight: Array) -> Array:
        require_rows("embedding", ids, weight.shape[0])
        self.save(ids=ids)
        self.rows = weight.shape[0]
        rows = self.backend.embedding_forward(weight, ids.reshape(-1))
        return rows.reshape(*ids.shape, weight.shape[1])

    def backward(self, g: Array) -> tuple[None, Array]:
        ids = self.saved.ids
        width = g.shape[-1]
        g = g.reshape(ids.size, width)
        return None, self.backend.embedding_backward(g, ids.reshape(-1), self.rows)

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 0


class OneHot(Copy):
    """y[..., j] = 1 if j == ids else 0; integers have no derivative."""

    def forward(self, ids: Array, *, n: int, dtype: Any) -> Array:
        require_rows("one_hot", ids, n)
        y = self.xp.zeros((ids.size, n), dtype)
        y[self.xp.arange(ids.size), ids.reshape(-1)] = 1
        return y.reshape(*ids.shape, n)


def embedding(ids: Value, weight: Value) -> Any:
    """The rows of `weight` named by `ids`: ids (I..), weight (rows, C) -> (I.., C).

    `ids` are integers from 0 to rows - 1. Another is an `OutOfRangeError`, negative ones too: a
    padding id of -1 must not quietly become the last row.
    """
    require_array("embedding", ids)
    require_array("embedding", weight)
    if weight.ndim != 2:
        raise ShapeError(f"embedding: weight has shape {weight.shape}; it is (rows, features).")
    return Embedding.apply(ids, weight)


def one_hot(ids: Value, n: int, dtype: Any = "float32") -> Any:
    """ids (I..), integers from 0 to n - 1 -> (I.., n), 1 at each id's place and 0 elsewhere."""
    return OneHot.apply(ids, n=whole("one_hot", "n", n), dtype=real_dtype("one_hot", dtype))


def require_rows(op: str, ids: Array, rows: int) -> None:
    """Fail unless `ids` are integers from 0 to rows - 1."""
    require_integers(op, ids)
    if ids.size and (ids.min() < 0 or ids.max() >= rows):
        bad = ids[(ids < 0) | (ids >= rows)][0]
        raise OutOfRangeError(
            f"{op}: id {bad} is not in 0..{rows - 1}, as there are {rows} rows. Check the ids, or "
            "make the table larger."
        )
