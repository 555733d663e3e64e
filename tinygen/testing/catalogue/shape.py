"""The same elements in another arrangement. All of it is exact and linear."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.errors import DtypeError, ShapeError
from tinygen.testing.catalogue import register
from tinygen.testing.catalogue.argument import bad, zeros
from tinygen.testing.drawing import Call, Draw

MOVES: dict[str, Any] = {"linear": True, "exact_on_ints": True}


def reshape_args(draw: Draw) -> Call:
    shape = draw.shape()
    size = math.prod(shape)
    order = [shape[i] for i in draw.permutation(len(shape))]
    cut = draw.integer(0, len(order))
    merged = (math.prod(order[:cut]), *order[cut:])
    return Call(draw.array(shape), shape=draw.choice((merged, (-1,) if size else (0,), size)))


register(
    ops.reshape,
    args=reshape_args,
    truth=np.reshape,
    bad=(
        bad("another size", ShapeError, lambda: ops.reshape(zeros(4), (3,))),
        bad("two unknowns", ShapeError, lambda: ops.reshape(zeros(4), (-1, -1))),
        bad("text", DtypeError, lambda: ops.reshape(zeros(4), "flat")),
    ),
    **MOVES,
)


def squeeze_args(draw: Draw) -> Call:
    shape = list(draw.shape(0, 2))
    places = sorted({draw.integer(0, len(shape)) for _ in range(2)}, reverse=True)
    for place in places:
        shape.insert(place, 1)
    one = shape.index(1)
    return Call(draw.array(shape), axis=draw.choice((None, one, one - len(shape), (one,))))


register(
    ops.squeeze,
    args=squeeze_args,
    truth=np.squeeze,
    bad=(
        bad("a longer axis", ShapeError, lambda: ops.squeeze(zeros(2, 3), 0)),
        bad("no such axis", ShapeError, lambda: ops.squeeze(zeros(2, 3), 5)),
    ),
    **MOVES,
)


def expand_args(draw: Draw) -> Call:
    shape = draw.shape()
    n = len(shape)
    return Call(draw.array(shape), axis=draw.choice((0, n, -1, -n - 1, (0, n + 1), (-1, 0))))


register(
    ops.expand_dims,
    args=expand_args,
    truth=np.expand_dims,
    bad=(
        bad("no such place", ShapeError, lambda: ops.expand_dims(zeros(2), 3)),
        bad("a place twice", ShapeError, lambda: ops.expand_dims(zeros(2), (0, -3))),
    ),
    **MOVES,
)


def permute_args(draw: Draw) -> Call:
    shape = draw.shape()
    axes = draw.permutation(len(shape))
    from_end = [a - len(shape) for a in axes]
    return Call(draw.array(shape), axes=tuple(draw.choice((axes, from_end))))


register(
    ops.permute_dims,
    args=permute_args,
    truth=np.transpose,
    bad=(
        bad("an axis twice", ShapeError, lambda: ops.permute_dims(zeros(2, 3), (0, 0))),
        bad("too few", ShapeError, lambda: ops.permute_dims(zeros(2, 3), (0,))),
    ),
    **MOVES,
)
register(
    ops.matrix_transpose,
    args=lambda draw: Call(draw.array(draw.shape(2, 4))),
    truth=lambda x: np.swapaxes(x, -1, -2),
    bad=(bad("a vector", ShapeError, lambda: ops.matrix_transpose(zeros(3))),),
    **MOVES,
)


def broadcast_args(draw: Draw) -> Call:
    whole, part = sorted(draw.broadcastable(2), key=len, reverse=True)
    return Call(draw.array(part), shape=np.broadcast_shapes(whole, part))


register(
    ops.broadcast_to,
    args=broadcast_args,
    truth=np.broadcast_to,
    bad=(
        bad("another length", ShapeError, lambda: ops.broadcast_to(zeros(2), (3,))),
        bad("fewer axes", ShapeError, lambda: ops.broadcast_to(zeros(2, 3), (3,))),
    ),
    **MOVES,
)


def flip_args(draw: Draw) -> Call:
    shape = draw.shape()
    return Call(draw.array(shape), axis=draw.axes(shape))


register(
    ops.flip,
    args=flip_args,
    truth=np.flip,
    bad=(bad("no such axis", ShapeError, lambda: ops.flip(zeros(2), 1)),),
    **MOVES,
)


def roll_args(draw: Draw) -> Call:
    shape = draw.shape()
    shift = draw.integer(-9, 9)
    if not shape or draw.boolean():
        return Call(draw.array(shape), shift=shift, axis=None)
    if draw.boolean():
        return Call(draw.array(shape), shift=shift, axis=draw.axis(shape))
    return Call(draw.array(shape), shift=(shift, 1), axis=(0, draw.axis(shape)))


register(
    ops.roll,
    args=roll_args,
    truth=np.roll,
    bad=(bad("no such axis", ShapeError, lambda: ops.roll(zeros(2), 1, 1)),),
    **MOVES,
)


def pad_args(draw: Draw) -> Call:
    shape = draw.shape(1)
    widths = [(draw.integer(0, 2), draw.integer(0, 2)) for _ in shape]
    width = draw.choice((1, (2, 1), widths))
    return Call(draw.array(shape), pad_width=width)


register(
    ops.pad,
    args=pad_args,
    truth=np.pad,
    bad=(
        bad("a negative width", ShapeError, lambda: ops.pad(zeros(2), -1)),
        bad("widths of other axes", ShapeError, lambda: ops.pad(zeros(2), [(1, 1), (1, 1)])),
        bad("half an integer", DtypeError, lambda: ops.pad(np.arange(3), 1, 0.5)),
    ),
    **MOVES,
)
register(
    ops.tile,
    args=lambda draw: Call(
        draw.array(draw.shape(0, 2)),
        repetitions=draw.choice((2, (1, 3), (2, 1, 2), (0,), ())),
    ),
    truth=lambda x, repetitions: np.tile(x, repetitions),
    bad=(bad("a negative number", ShapeError, lambda: ops.tile(zeros(2), -1)),),
    **MOVES,
)


def repeat_args(draw: Draw) -> Call:
    shape = draw.shape(1)
    axis = draw.axis(shape) if draw.boolean() else None
    n = math.prod(shape) if axis is None else shape[axis]
    each = draw.indices((n,), 0, 3)
    return Call(draw.array(shape), repeats=draw.choice((2, 3, 1, 0, each)), axis=axis)


register(
    ops.repeat,
    args=repeat_args,
    truth=np.repeat,
    bad=(
        bad("a negative number", ShapeError, lambda: ops.repeat(zeros(2), -1)),
        bad("counts of another length", ShapeError, lambda: ops.repeat(zeros(2), np.arange(3))),
        bad("no such axis", ShapeError, lambda: ops.repeat(zeros(2), 2, 1)),
    ),
    **MOVES,
)


# ---- several arrays ------------------------------------------------------------------------------


def concat_args(draw: Draw) -> Call:
    shape = draw.shape(1)
    axis = draw.axis(shape)
    arrays = []
    for _ in range(draw.integer(1, 3)):
        lengths = list(shape)
        lengths[axis] = draw.side()
        arrays.append(draw.array(lengths))
    return Call(*arrays, axis=draw.choice((axis, None)))


def join(f: Any) -> Any:
    """An op of a list of arrays as one of several arrays."""
    return lambda *arrays, axis: f(list(arrays), axis)


register(
    join(ops.concat),
    name="concat",
    args=concat_args,
    truth=join(np.concatenate),
    promotes=True,
    bad=(
        bad("nothing", ShapeError, lambda: ops.concat([])),
        bad("other axes differ", ShapeError, lambda: ops.concat([zeros(2, 3), zeros(2, 4)])),
        bad("no such axis", ShapeError, lambda: ops.concat([zeros(2)], 1)),
    ),
    **MOVES,
)


def stack_args(draw: Draw) -> Call:
    shape = draw.shape()
    arrays = [draw.array(shape) for _ in range(draw.integer(1, 3))]
    return Call(*arrays, axis=draw.integer(-len(shape) - 1, len(shape)))


register(
    join(ops.stack),
    name="stack",
    args=stack_args,
    truth=join(np.stack),
    promotes=True,
    bad=(
        bad("nothing", ShapeError, lambda: ops.stack([])),
        bad("shapes differ", ShapeError, lambda: ops.stack([zeros(2), zeros(3)])),
    ),
    **MOVES,
)


def unstack_args(draw: Draw) -> Call:
    shape = draw.shape(1)
    axis = draw.axis(shape)
    return Call(draw.array(draw.filled(shape, axis)), axis=axis)


register(
    ops.unstack,
    args=unstack_args,
    truth=lambda x, axis: tuple(np.moveaxis(x, axis, 0)),
    bad=(bad("no such axis", ShapeError, lambda: ops.unstack(zeros(2), 1)),),
    **MOVES,
)


def split_args(draw: Draw) -> Call:
    shape = draw.shape(1)
    axis = draw.axis(shape)
    n = shape[axis]
    parts = draw.choice([d for d in range(1, n + 1) if n % d == 0] or [1])
    cuts = sorted(draw.integer(0, n) for _ in range(draw.integer(0, 3)))
    return Call(draw.array(shape), indices_or_sections=draw.choice((parts, cuts)), axis=axis)


register(
    ops.split,
    args=split_args,
    truth=lambda x, indices_or_sections, axis: tuple(np.split(x, indices_or_sections, axis)),
    bad=(
        bad("a rest", ShapeError, lambda: ops.split(zeros(5), 2)),
        bad("falling cuts", ShapeError, lambda: ops.split(zeros(5), [3, 1])),
        bad("no parts", ShapeError, lambda: ops.split(zeros(5), 0)),
    ),
    **MOVES,
)
