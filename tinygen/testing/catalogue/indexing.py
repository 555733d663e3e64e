"""Reading by position, writing back, embedding, and order."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen import ops
from tinygen.backend import Array
from tinygen.errors import DtypeError, OutOfRangeError, ShapeError
from tinygen.testing.bounds import sums
from tinygen.testing.catalogue import register
from tinygen.testing.catalogue.argument import bad, mask, zeros
from tinygen.testing.drawing import Call, Draw

EXACT: dict[str, Any] = {"linear": True, "exact_on_ints": True}


def index_of(draw: Draw, shape: tuple[int, ...]) -> Any:
    """Any mixture of what NumPy takes as an index."""
    if not shape:
        return draw.choice(((), ..., None))
    kind = draw.integer(0, 6)
    n = shape[0]
    if kind == 0:
        return draw.indices((draw.side(1),), -n, n) if n else slice(None)
    if kind == 1:
        return mask(draw, shape)
    if kind == 2:
        return (..., None, slice(None, None, -1))
    if kind == 3 and n:  # an array, a list and a slice
        rows = draw.indices((2, 1), -n, n)
        return (rows, *[[0, 0, 0] for m in shape[1:2] if m], slice(None, None, 2))[: len(shape)]
    if kind == 4 and n:
        return draw.integer(-n, n - 1)
    if kind == 5 and n and len(shape) > 2 and shape[2]:  # arrays on both sides of a slice
        last = draw.indices((3,), 0, shape[2])
        return (draw.indices((3,), 0, n), slice(None), last)
    return tuple(slice(draw.integer(0, 2), None, draw.choice((1, 2, -1))) for _ in shape)


def getitem_args(draw: Draw) -> Call:
    shape = draw.shape()
    return Call(draw.array(shape), index=index_of(draw, shape))


register(
    ops.getitem,
    args=getitem_args,
    truth=lambda x, index: x[index],
    bad=(
        bad("beyond the end", OutOfRangeError, lambda: ops.getitem(zeros(2), 2)),
        bad(
            "beyond, in an array", OutOfRangeError, lambda: ops.getitem(zeros(2), np.array([0, 5]))
        ),
        bad("too many", OutOfRangeError, lambda: ops.getitem(zeros(2), (0, 0))),
        bad("floats", DtypeError, lambda: ops.getitem(zeros(2), zeros(2))),
        bad("text", DtypeError, lambda: ops.getitem(zeros(2), "a")),
        bad(
            "a mask of another length", OutOfRangeError, lambda: ops.getitem(zeros(2), zeros(3) > 0)
        ),
    ),
    **EXACT,
)


def take_args(draw: Draw) -> Call:
    shape = draw.shape(1)
    axis = draw.axis(shape)
    n = shape[axis]
    chosen = draw.indices(draw.shape(0, 2, least=1) if n else (0,), -n, max(n, 1))
    return Call(draw.array(shape), chosen, axis=axis)


register(
    ops.take,
    args=take_args,
    truth=np.take,
    bad=(
        bad("beyond the end", OutOfRangeError, lambda: ops.take(zeros(2), np.array([2]), 0)),
        bad("floats", DtypeError, lambda: ops.take(zeros(2), zeros(2), 0)),
        bad("no such axis", ShapeError, lambda: ops.take(zeros(2), np.array([0]), 1)),
    ),
    **EXACT,
)


def lines(draw: Draw) -> tuple[tuple[int, ...], Array, int]:
    """A shape, an axis of it, and indices along that axis for each line."""
    shape = draw.shape(1)
    axis = draw.axis(shape)
    n = shape[axis]
    across = list(shape)
    across[axis] = draw.side() if n else 0
    return shape, draw.indices(across, -n, max(n, 1)), axis


def along_args(draw: Draw) -> Call:
    shape, chosen, axis = lines(draw)
    return Call(draw.array(shape), chosen, axis=axis)


register(
    ops.take_along_axis,
    args=along_args,
    truth=np.take_along_axis,
    bad=(
        bad(
            "beyond the end",
            OutOfRangeError,
            lambda: ops.take_along_axis(zeros(2), np.array([2]), 0),
        ),
        bad("other axes", ShapeError, lambda: ops.take_along_axis(zeros(2, 3), np.array([0]), 0)),
        bad("floats", DtypeError, lambda: ops.take_along_axis(zeros(2), zeros(2), 0)),
    ),
    **EXACT,
)


def scatter_args(draw: Draw) -> Call:
    shape, chosen, axis = lines(draw)
    return Call(draw.array(shape), chosen, draw.array(chosen.shape), axis=axis)


def scatter_add(x: Any, indices: Any, updates: Any, axis: int) -> Any:
    y = x.copy()
    for place in np.ndindex(indices.shape):
        where = list(place)
        where[axis] = indices[place]
        y[tuple(where)] += updates[place]
    return y


register(
    ops.scatter_add,
    args=scatter_args,
    truth=scatter_add,
    bound=sums(),
    promotes=True,
    bad=(
        bad(
            "updates of another shape",
            ShapeError,
            lambda: ops.scatter_add(zeros(3), np.array([0]), zeros(2), 0),
        ),
        bad(
            "beyond the end",
            OutOfRangeError,
            lambda: ops.scatter_add(zeros(2), np.array([2]), zeros(1), 0),
        ),
        bad("floats", DtypeError, lambda: ops.scatter_add(zeros(2), zeros(2), zeros(2), 0)),
    ),
    **EXACT,
)


# ---- ids -----------------------------------------------------------------------------------------


def embedding_args(draw: Draw) -> Call:
    rows = draw.side(1)
    return Call(draw.indices(draw.shape(), 0, rows), draw.array((rows, draw.side())))


register(
    ops.embedding,
    args=embedding_args,
    truth=lambda ids, weight: weight[ids],
    fused=True,
    bad=(
        bad("a missing row", OutOfRangeError, lambda: ops.embedding(np.array([3]), zeros(3, 2))),
        bad("a negative id", OutOfRangeError, lambda: ops.embedding(np.array([-1]), zeros(3, 2))),
        bad("floats", DtypeError, lambda: ops.embedding(zeros(2), zeros(3, 2))),
        bad("no matrix", ShapeError, lambda: ops.embedding(np.array([0]), zeros(3))),
    ),
    **EXACT,
)


def one_hot_args(draw: Draw) -> Call:
    n = draw.side(1)
    dtype = draw.choice(("float32", "float64", "int64"))
    return Call(draw.indices(draw.shape(), 0, n), n=n, dtype=dtype)


register(
    ops.one_hot,
    args=one_hot_args,
    truth=lambda ids, n, dtype: np.equal(ids[..., None], np.arange(n)).astype(dtype),
    differentiable=False,
    own_dtype=True,
    exact_on_ints=True,
    bad=(
        bad("no such class", OutOfRangeError, lambda: ops.one_hot(np.array([3]), 3)),
        bad("a negative id", OutOfRangeError, lambda: ops.one_hot(np.array([-1]), 3)),
        bad("floats", DtypeError, lambda: ops.one_hot(zeros(2), 3)),
    ),
)


# ---- order ---------------------------------------------------------------------------------------


def order_of(line: Any, descending: bool) -> list[int]:
    """Stable; NaN is larger than every number."""

    def key(i: int) -> tuple[bool, Any]:
        x = line[i]
        last = bool(np.isnan(x)) != descending
        return last, 0 if np.isnan(x) else -x if descending else x

    return sorted(range(len(line)), key=key)


def argsort(x: Any, axis: int, descending: bool) -> Any:
    rows = np.moveaxis(x, axis, -1)
    order = np.zeros(rows.shape, np.int64)
    for place in np.ndindex(rows.shape[:-1]):
        order[place] = order_of(rows[place], descending)
    return np.moveaxis(order, -1, axis)


def sort(x: Any, axis: int, descending: bool) -> Any:
    return np.take_along_axis(x, argsort(x, axis, descending), axis)


def topk(x: Any, k: int, axis: int) -> Any:
    order = np.take(argsort(x, axis, descending=True), np.arange(k), axis)
    return np.take_along_axis(x, order, axis), order


def sort_args(draw: Draw) -> Call:
    shape = draw.shape(1)
    x = draw.distinct(shape)[0]
    return Call(x, axis=draw.axis(shape), descending=draw.boolean())


register(
    ops.sort,
    args=sort_args,
    truth=sort,
    exact_on_ints=True,
    kinks=True,
    bad=(
        bad("no such axis", ShapeError, lambda: ops.sort(zeros(2), 1)),
        bad("no axis at all", ShapeError, lambda: ops.sort(zeros())),
    ),
)
register(
    ops.argsort,
    args=sort_args,
    truth=argsort,
    differentiable=False,
    exact_on_ints=True,
    bad=(bad("no such axis", ShapeError, lambda: ops.argsort(zeros(2), 1)),),
)


def topk_args(draw: Draw) -> Call:
    """Long lines too: a short k is found by partition, a long one by sorting."""
    shape = (*draw.shape(0, 1), draw.choice((5, 3, 1, 17, 23)))
    axis = draw.choice((-1, 0, len(shape) - 1))
    k = draw.integer(0, min(shape[axis], draw.choice((3, 100))))
    return Call(draw.distinct(shape)[0], k=k, axis=axis)


register(
    ops.topk,
    args=topk_args,
    truth=topk,
    exact_on_ints=True,
    kinks=True,
    bad=(
        bad("too many", ShapeError, lambda: ops.topk(zeros(3), 4)),
        bad("fewer than none", ShapeError, lambda: ops.topk(zeros(3), -1)),
        bad("no such axis", ShapeError, lambda: ops.topk(zeros(3), 1, 1)),
    ),
)
