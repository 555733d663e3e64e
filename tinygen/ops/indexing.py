"""Reading elements by position, and writing them back: the two are each other's adjoint.

Indices are integers, negative ones counting from the end, and carry no gradient. One beyond its
axis is an `OutOfRangeError`, one that is no integer a `DtypeError`. Where an element was read
twice its gradients are summed, one after another in the order of the indices, so that the result
is the same in every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType, NoneType
from typing import Any

from tinygen.backend import Array, Backend, backend_of, raw, require_one_device
from tinygen.errors import DtypeError, ShapeError
from tinygen.function import Function, Value
from tinygen.ops.shape import Copy, View, axis_from_front
from tinygen.promotion import promote
from tinygen.tensor import Tensor, plain

__all__ = ["getitem", "scatter_add", "take", "take_along_axis"]

BASIC = frozenset({int, slice, EllipsisType, NoneType})
"""Types of index parts with which NumPy gives a view."""

Index = tuple[Any, ...]


class GetItem(View):
    """y = x[index];  dx = g put back at `index`."""

    def forward(self, x: Array, *, index: Index) -> Array:
        self.shape = x.shape
        return x[index]

    def backward(self, g: Value) -> Value:
        return put(g, self.params["index"], self.shape)


class Put(Function):
    """y = zeros of `shape`, y[index] += u;  du = g[index].

    `unique` promises that no element is named twice, which saves the sum.
    """

    def forward(self, u: Array, *, index: Index, shape: tuple[int, ...], unique: bool) -> Array:
        y = self.xp.zeros(shape, u.dtype)
        if unique or not any(hasattr(part, "dtype") and part.dtype.kind != "b" for part in index):
            y[index] = u  # slices and masks name every element at most once
        else:
            self.xp.add.at(y, index, u)
        return y

    def backward(self, g: Value) -> Value:
        return getitem(g, self.params["index"])

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return arrays[0].size


class Take(Copy):
    """y[..., j, ...] = x[..., indices[j], ...];  dx = g added at `indices`."""

    def forward(self, x: Array, indices: Array, *, axis: int) -> Array:
        require_integers("take", indices)
        self.axis = axis_from_front("take", axis, x.ndim)
        self.shape = x.shape
        self.save(indices=indices)
        return x.take(indices, self.axis)

    def backward(self, g: Value) -> tuple[Value, None]:
        index = (slice(None),) * self.axis + (self.saved.indices,)
        return put(g, index, self.shape), None


class TakeAlongAxis(Copy):
    """y[i, j] = x[i, indices[i, j]] (here for the last of two axes);  dx = g added there."""

    def forward(self, x: Array, indices: Array, *, axis: int) -> Array:
        self.index = along_axis(self.xp, "take_along_axis", x.shape, indices, axis)
        self.shape = x.shape
        return x[self.index]

    def backward(self, g: Value) -> tuple[Value, None]:
        return put(g, self.index, self.shape), None


class ScatterAdd(Function):
    """y = x, y[i, indices[i, j]] += u[i, j] (here for the last of two axes).

    dx = g;  du[i, j] = g[i, indices[i, j]].
    """

    def forward(self, x: Array, indices: Array, updates: Array, *, axis: int) -> Array:
        index = along_axis(self.xp, "scatter_add", x.shape, indices, axis)
        y = x.copy()
        self.xp.add.at(y, index, updates)
        self.save(indices=indices)
        return y

    def backward(self, g: Value) -> tuple[Value, None, Value]:
        du = take_along_axis(g, self.saved.indices, self.params["axis"]) if self.needs[2] else None
        return g, None, du

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return arrays[2].size


# ---- what users call -----------------------------------------------------------------------------


def getitem(x: Value, index: Any) -> Any:
    """x[index] with NumPy's rules: integers, slices, `...`, None, integer and boolean arrays, lists
    and Tensors, and mixtures of them. A view if no array is among them.

    As a small convenience over NumPy, an integer array without axes counts as an integer.
    """
    parts = index if isinstance(index, tuple) else (index,)
    for part in parts:
        if type(part) not in BASIC:
            return _advanced(x, parts)
    return GetItem.apply(x, index=parts)


def put(u: Value, index: Index, shape: tuple[int, ...], *, unique: bool = False) -> Any:
    """Zeros of `shape` with `u` added at `index`: the adjoint of `getitem`, and of every op that
    reads its input by position."""
    return Put.apply(u, index=index, shape=shape, unique=unique)


def take(x: Value, indices: Value, axis: int) -> Any:
    """The slices of x at `indices` of `axis`, which the axes of `indices` replace.

    x (A.., n, B..), indices (I..) -> (A.., I.., B..).
    """
    require_array("take", x)
    return Take.apply(x, indices, axis=axis)


def take_along_axis(x: Value, indices: Value, axis: int = -1) -> Any:
    """From each line of x along `axis`, the elements at the line's own `indices`.

    x (A.., n, B..), indices (A.., k, B..) -> (A.., k, B..); the other axes broadcast.
    """
    require_array("take_along_axis", x)
    require_array("take_along_axis", indices)
    return TakeAlongAxis.apply(x, indices, axis=axis)


def scatter_add(x: Value, indices: Value, updates: Value, axis: int = -1) -> Any:
    """A copy of x with `updates` added, each at the place of its line that `indices` names.

    x (A.., n, B..), indices and updates (A.., k, B..) -> (A.., n, B..). An index that comes twice
    adds twice. x and updates are promoted to their common dtype.
    """
    for value in (x, indices, updates):
        require_array("scatter_add", value)
    rest = list(x.shape)
    if len(rest) == len(indices.shape):
        place = axis_from_front("scatter_add", axis, len(rest))
        rest[place] = indices.shape[place]
    if indices.shape != updates.shape or tuple(rest) != indices.shape:
        raise ShapeError(
            f"scatter_add: x has shape {x.shape}, indices {indices.shape} and updates "
            f"{updates.shape}; indices and updates are alike and agree with x but in axis {axis}."
        )
    if x.dtype != updates.dtype:
        x, updates = promote(x, updates)
    return ScatterAdd.apply(x, indices, updates, axis=axis)


# ---- indices -------------------------------------------------------------------------------------


def along_axis(
    xp: Any, op: str, shape: tuple[int, ...], indices: Array, axis: int
) -> tuple[Array, ...]:
    """The index with which an array of `shape` is read along `axis`: `indices` there, and in every
    other place that axis' own positions."""
    require_integers(op, indices)
    axis = axis_from_front(op, axis, len(shape))
    if indices.ndim != len(shape) or any(
        n != m and 1 not in (n, m)
        for i, (n, m) in enumerate(zip(shape, indices.shape, strict=True))
        if i != axis
    ):
        raise ShapeError(
            f"{op}: indices of shape {indices.shape} do not fit an array of shape {shape}; they "
            f"have as many axes and agree, or have length 1, in all but axis {axis}."
        )
    lines = [xp.arange(n).reshape((n,) + (1,) * (len(shape) - i - 1)) for i, n in enumerate(shape)]
    lines[axis] = indices
    return tuple(lines)


def require_array(op: str, value: Value) -> None:
    if not hasattr(value, "dtype"):
        raise DtypeError(
            f"{op}: takes arrays and Tensors, not {type(value).__name__}. Make a Tensor of it "
            "first: tg.tensor(data)."
        )


def require_integers(op: str, indices: Array) -> None:
    kind = type(indices).__name__ if not hasattr(indices, "dtype") else indices.dtype
    if type(indices) is not int and getattr(kind, "kind", "") not in ("i", "u"):
        raise DtypeError(f"{op}: indices are integers, not {kind}. Convert them first.")


def _advanced(x: Value, parts: Index) -> Value:
    """x[parts] where some part is more than a number or a slice."""
    if any(isinstance(part, Tensor) for part in parts) and not isinstance(x, Tensor):
        x = Tensor(x)
    array = plain(x) if isinstance(x, Tensor) else raw(x)
    backend = backend_of([array])
    index = tuple([_index_part(part, backend) for part in parts])
    require_one_device("getitem", [("x", array), *(("an index", part) for part in index)])
    return GetItem.apply(x, index=index)


def _index_part(part: Any, backend: Backend) -> Any:
    if type(part) in BASIC or isinstance(part, bool):
        return part
    if isinstance(part, Tensor):
        part = part.data
    elif isinstance(part, (list, tuple)):
        try:
            part = backend.asarray(part) if len(part) else backend.asarray(part).astype(int)
        except ValueError as error:
            raise ShapeError(f"an index list has rows of different lengths: {error}.") from error
    kind = getattr(getattr(part, "dtype", None), "kind", "")
    if kind not in ("i", "u", "b"):
        raise DtypeError(
            "an index is made of integers, slices, `...`, None, and integer or boolean arrays; "
            f"{getattr(part, 'dtype', None) or type(part).__name__} is none of them."
        )
    return int(part) if part.ndim == 0 and kind != "b" else part
