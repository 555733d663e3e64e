"""Matrix products, and the parts of a matrix. All act on the last two axes; others are batches."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from tinygen import ops
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
        self.ndims = a.ndim, b.ndim
        if self.needs:
            needs_a, needs_b = self.needs
            self.save(**({"b": b} if needs_a else {}), **({"a": a} if needs_b else {}))
        if self.ndims[1] == 2 < self.ndims[0]:  # one large product, not a batch of small ones
            lead = a.shape[:-1]
            y = self.xp.matmul(a.reshape(prod(lead), a.shape[-1]), b)
            return y.reshape(*lead, b.shape[1])
        if self.ndims[1] == 1:
            # OpenBLAS on AVX-512 multiplies a vector of 5 float32 numbers beside what its stack
            # held before, and drops those results; the warning that they raise is about nothing.
            with self.xp.errstate(invalid="ignore"):
                return self.xp.matmul(a, b)
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
            if b_ndim == 2 < a_ndim:  # the sum over the batch belongs to the product
                rows = prod(a.shape[:-1])
                a, g = reshape(a, (rows, a.shape[-1])), reshape(g, (rows, g.shape[-1]))
            db = matmul(expand_dims(a, -1) if a_ndim == 1 else matrix_transpose(a), g)
            db = squeeze(db, -1) if b_ndim == 1 else db
        return da, db

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 2 * outputs[0].size * arrays[0].shape[-1]


class Triangle(Copy):
    """y = x below (lower) or above (upper) the k-th diagonal, that one included, 0 elsewhere;
    dx = g, the same part."""

    def forward(self, x: Array, *, lower: bool, k: int) -> Array:
        if x.ndim < 2:
            raise ShapeError(f"a triangle needs a matrix, and the shape is {x.shape}.")
        return self.xp.tril(x, k) if lower else self.xp.triu(x, k)

    def backward(self, g: Value) -> Value:
        return Triangle.apply(g, **self.params)


class Diagonal(View):
    """y[i] = x[i, i + offset];  dx = g on that diagonal, 0 elsewhere."""

    def forward(self, x: Array, *, offset: int) -> Array:
        y = x.diagonal(offset, -2, -1)
        if self.needs:
            self.shape = x.shape
            steps = self.xp.arange(y.shape[-1])
            self.index = (..., steps + max(-offset, 0), steps + max(offset, 0))
        return y

    def backward(self, g: Value) -> Value:
        return put(g, self.index, self.shape, unique=True)


def matmul(a: Value, b: Value) -> Any:
    """The matrix product: a (.., M, K), b (.., K, N) -> (.., M, N), the leading axes broadcast.

    A vector a (K,) or b (K,) is a row or a column, and its axis of length 1 is dropped from the
    result. Dtypes are promoted. `ShapeError` if K differs or an operand has no axes.
    """
    require_array("matmul", a)
    require_array("matmul", b)
    return MatMul.apply(a, b)


def outer(a: Value, b: Value) -> Any:
    """a (M,), b (N,) -> (M, N), every product of an element of a and one of b."""
    require_array("outer", a)
    require_array("outer", b)
    if len(a.shape) != 1 or len(b.shape) != 1:
        raise ShapeError(f"outer: takes two vectors, and the shapes are {a.shape} and {b.shape}.")
    return ops.multiply(expand_dims(a, 1), b)


def tril(x: Value, k: int = 0) -> Any:
    """x (.., M, N) with zeros above the k-th diagonal (0 the main one, positive ones above it)."""
    return Triangle.apply(x, lower=True, k=k)


def triu(x: Value, k: int = 0) -> Any:
    """x (.., M, N) with zeros below the k-th diagonal (0 the main one, positive ones above it)."""
    return Triangle.apply(x, lower=False, k=k)


def diagonal(x: Value, offset: int = 0) -> Any:
    """The elements x[.., i, i + offset] of x (.., M, N); a read-only view."""
    return Diagonal.apply(x, offset=offset)
