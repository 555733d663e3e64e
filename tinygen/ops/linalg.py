"""Matrix products, and the parts of a matrix. All act on the last two axes; others are batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.backend import Array
from tinygen.errors import ShapeError
from tinygen.function import Function, Value
from tinygen.ops.indexing import put, require_array
from tinygen.ops.shape import Copy, View, expand_dims, matrix_transpose, reshape, squeeze

__all__ = ["diagonal", "matmul", "outer", "tril", "triu"]


class MatMul(Function):
    """C = A B, with A (.., M, K), B (.., K, N);  dA = g B^T,  dB = A^T g.

    A vector is a row on the left and a column on the right, without that axis in the result.
    """

    promotes = True
    broadcasts = True

    def forward(self, a: Array, b: Array) -> Array:
        if self.needs:
            needed = {"b": b} if self.needs[0] else {}
            self.save(**needed, **({"a": a} if self.needs[1] else {}))
            self.ndims = a.ndim, b.ndim
        if self.xp.ndim(a) > 2 and self.xp.ndim(b) == 2:  # one large product, not a batch of small
            rows = a.size // a.shape[-1] if a.size else 0
            if rows:
                return self.xp.matmul(a.reshape(rows, -1), b).reshape(*a.shape[:-1], b.shape[1])
        return self.xp.matmul(a, b)

    def backward(self, g: Value) -> tuple[Value, Value]:
        a_ndim, b_ndim = self.ndims
        if b_ndim == 1:
            g = expand_dims(g, -1)  # (.., M, 1)
        if a_ndim == 1:
            g = expand_dims(g, -2)  # (.., 1, N)
        da = db = None
        if self.needs[0]:
            b = self.saved.b
            da = matmul(g, expand_dims(b, 0) if b_ndim == 1 else matrix_transpose(b))
            da = squeeze(da, -2) if a_ndim == 1 else da
        if self.needs[1]:
            a = self.saved.a
            if b_ndim == 2 and a_ndim > 2:
                a, g = reshape(a, (-1, a.shape[-1])), reshape(g, (-1, g.shape[-1]))
            db = matmul(expand_dims(a, -1) if a_ndim == 1 else matrix_transpose(a), g)
            db = squeeze(db, -1) if b_ndim == 1 else db
        return da, db

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 2 * outputs[0].size * arrays[0].shape[-1]
