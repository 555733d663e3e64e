"""The same elements in another arrangement: reshape, permute, join and cut.

Where NumPy gives a view, so do these. Any dtype will do; only floats carry a gradient. An axis or
a shape that does not fit is a `ShapeError` or, as in NumPy, whatever makes it not an integer a
`DtypeError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from numbers import Real
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.backend import Array
from tinygen.errors import DtypeError, ShapeError
from tinygen.function import Function, Value
from tinygen.ops.checks import whole

__all__ = [
    "broadcast_to",
    "concat",
    "expand_dims",
    "flip",
    "matrix_transpose",
    "pad",
    "permute_dims",
    "reshape",
    "roll",
    "split",
    "squeeze",
    "stack",
    "unstack",
]

Shape = int | Sequence[int]
Axes = int | Sequence[int]


class View(Function):
    """An op whose outputs share the memory of its input, and that therefore does no arithmetic."""

    views = True

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 0


class Copy(Function):
    """An op that moves elements to new memory, and does no arithmetic either."""

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 0


# ---- one array -----------------------------------------------------------------------------------


class Reshaped(View):
    """Any y that is x in another shape;  dx = g in x's shape."""

    shape: tuple[int, ...]

    def backward(self, g: Value) -> Value:
        return reshape(g, self.shape)


class Reshape(Reshaped):
    """y = x in another shape, elements in row-major order."""

    def forward(self, x: Array, *, shape: Shape) -> Array:
        self.shape = x.shape
        if min(shape if isinstance(shape, Sequence) else (shape,), default=0) < -1:
            raise ShapeError(f"reshape: {shape} has a negative size other than -1.")
        return x.reshape(shape)


class Squeeze(Reshaped):
    """y = x without axes of length one."""

    def forward(self, x: Array, *, axis: Axes | None) -> Array:
        self.shape = x.shape
        return x.squeeze(axis if axis is None or isinstance(axis, int) else tuple(axis))


class ExpandDims(Reshaped):
    """y = x with new axes of length one."""

    def forward(self, x: Array, *, axis: Axes) -> Array:
        self.shape = x.shape
        axes = (axis,) if isinstance(axis, int) else tuple(axis)
        ndim = x.ndim + len(axes)
        places = sorted(axis_from_front("expand_dims", a, ndim) for a in axes)
        if len(set(places)) != len(places):
            raise ShapeError(f"expand_dims: the axes {axes} name a place twice.")
        shape = list(x.shape)
        for place in places:
            shape.insert(place, 1)
        return x.reshape(shape)


class PermuteDims(View):
    """Axis i of y is axis axes[i] of x;  dx = g with the inverse permutation."""

    def forward(self, x: Array, *, axes: Sequence[int]) -> Array:
        self.axes = tuple(axes)
        return x.transpose(self.axes)

    def backward(self, g: Value) -> Value:
        inverse = [0] * len(self.axes)
        for i, axis in enumerate(self.axes):
            inverse[axis] = i
        return permute_dims(g, inverse)


class MatrixTranspose(View):
    """y = x^T over the last two axes;  dx = g^T."""

    def forward(self, x: Array) -> Array:
        return x.swapaxes(-1, -2)

    def backward(self, g: Value) -> Value:
        return matrix_transpose(g)


class BroadcastTo(View):
    """y = x repeated along new and unit axes;  dx = sum of g over those axes."""

    def forward(self, x: Array, *, shape: Shape) -> Array:
        self.shape = x.shape
        return self.xp.broadcast_to(x, shape)

    def backward(self, g: Value) -> Value:
        return ops.sum_to(g, self.shape)


class Flip(View):
    """y[i] = x[n-1-i];  dx = g flipped."""

    def forward(self, x: Array, *, axis: Axes | None) -> Array:
        return self.xp.flip(x, axis)

    def backward(self, g: Value) -> Value:
        return flip(g, self.params["axis"])


class Roll(Copy):
    """y[i] = x[(i - shift) mod n];  dx = g rolled back."""

    def forward(self, x: Array, *, shift: Shape, axis: Axes | None) -> Array:
        return self.xp.roll(x, shift, axis)

    def backward(self, g: Value) -> Value:
        shift = self.params["shift"]
        back = -shift if isinstance(shift, int) else tuple(-s for s in shift)
        return roll(g, back, self.params["axis"])


class Pad(Copy):
    """y = x surrounded by a constant;  dx = the inner part of g."""

    def forward(self, x: Array, *, pad_width: Any, value: float) -> Array:
        if x.dtype.kind != "f" and value != 0 and not isinstance(value, int):
            raise DtypeError(
                f"pad: the value {value} cannot be held by {x.dtype}; give an integer."
            )
        widths = np.broadcast_to(pad_width, (x.ndim, 2)).tolist()
        if any(min(pair) < 0 for pair in widths):
            raise ShapeError(f"pad: pad_width is {pad_width}; widths are 0 or more.")
        shape = [before + n + after for n, (before, after) in zip(x.shape, widths, strict=True)]
        y = self.xp.full(shape, value, x.dtype) if value else self.xp.zeros(shape, x.dtype)
        self.inside = tuple(
            slice(before, before + n) for n, (before, _) in zip(x.shape, widths, strict=True)
        )
        y[self.inside] = x
        return y

    def backward(self, g: Value) -> Value:
        return g[self.inside]


# ---- joining and cutting: each is the adjoint of another -----------------------------------------


class Concat(Copy):
    """y = the inputs one after another along an axis;  dx_i = its part of g."""

    promotes = True

    def forward(self, *arrays: Array, axis: int) -> Array:
        y = self.xp.concatenate(arrays, axis)
        if self.needs:
            self.starts = list(accumulate(x.shape[axis] for x in arrays[:-1]))
        return y

    def backward(self, g: Value) -> tuple[Value, ...]:
        return split(g, self.starts, self.params["axis"])


class Split(View):
    """y_i = x between two cuts of an axis;  dx = the gradients concatenated."""

    def forward(self, x: Array, *, cuts: int | Sequence[int], axis: int) -> tuple[Array, ...]:
        before = (slice(None),) * axis_from_front("split", axis, x.ndim)
        starts = [0, *_cuts(cuts, x.shape[axis])]
        stops = [*starts[1:], x.shape[axis]]
        return tuple(x[(*before, slice(a, b))] for a, b in zip(starts, stops, strict=True))

    def backward(self, *grads: Value) -> Value:
        return concat(grads, self.params["axis"])


class Stack(Copy):
    """y = the inputs side by side along a new axis;  dx_i = the i-th slice of g."""

    promotes = True

    def forward(self, *arrays: Array, axis: int) -> Array:
        return self.xp.stack(arrays, axis)

    def backward(self, g: Value) -> tuple[Value, ...]:
        return unstack(g, self.params["axis"])


class Unstack(View):
    """y_i = the i-th slice of x along an axis;  dx = the gradients stacked."""

    def forward(self, x: Array, *, axis: int) -> tuple[Array, ...]:
        before = (slice(None),) * axis_from_front("unstack", axis, x.ndim)
        return tuple(x[(*before, i)] for i in range(x.shape[axis]))

    def backward(self, *grads: Value) -> Value:
        return stack(grads, self.params["axis"])


# ---- what users call -----------------------------------------------------------------------------


def reshape(x: Value, shape: Shape) -> Any:
    """x in another shape of as many elements; one entry may be -1, "what is left".

    A view if x is contiguous. Sizes that differ are a `ShapeError`.
    """
    return Reshape.apply(x, shape=shape)


def squeeze(x: Value, axis: Axes | None = None) -> Any:
    """x without the axes in `axis`, which must have length 1; without any such axis if None."""
    return Squeeze.apply(x, axis=axis)


def expand_dims(x: Value, axis: Axes) -> Any:
    """x with a new axis of length 1 at each place in `axis`, counted in the result."""
    return ExpandDims.apply(x, axis=axis)


def permute_dims(x: Value, axes: Sequence[int]) -> Any:
    """Axis i of the result is axis axes[i] of x; a view. `axes` names every axis once."""
    return PermuteDims.apply(x, axes=axes)


def matrix_transpose(x: Value) -> Any:
    """x (..., M, N) -> (..., N, M); a view."""
    return MatrixTranspose.apply(x)


def broadcast_to(x: Value, shape: Shape) -> Any:
    """x repeated along new leading axes and axes of length 1; a read-only view of `shape`."""
    return BroadcastTo.apply(x, shape=shape)


def flip(x: Value, axis: Axes | None = None) -> Any:
    """x in reverse order along `axis` (every axis if None); a view."""
    return Flip.apply(x, axis=axis)


def roll(x: Value, shift: Shape, axis: Axes | None = None) -> Any:
    """x moved by `shift` places along `axis`, what falls off coming in at the other end.

    With several axes, one shift for each or one for all; with None, x is rolled as if flat.
    """
    if isinstance(shift, Sequence):
        shift = tuple(whole("roll", "shift", s) for s in shift)
    else:
        shift = whole("roll", "shift", shift)
    return Roll.apply(x, shift=shift, axis=axis)


def pad(x: Value, pad_width: Any, value: float = 0.0) -> Any:
    """x surrounded by `value`.

    `pad_width` as NumPy's: n for every side, (before, after) for every axis, or one such pair for
    each axis. A `value` that x's dtype cannot hold is a `DtypeError`.
    """
    if not isinstance(value, Real):
        raise DtypeError(f"pad: value is a number, not {value!r}.")
    return Pad.apply(x, pad_width=pad_width, value=value)


def concat(arrays: Sequence[Value], axis: int | None = 0) -> Any:
    """The arrays one after another along `axis`; flattened first if it is None.

    They agree in every other axis; different dtypes are promoted.
    """
    arrays = _several("concat", arrays)
    if axis is None:
        arrays, axis = [reshape(x, -1) for x in arrays], 0
    return Concat.apply(*arrays, axis=axis)


def stack(arrays: Sequence[Value], axis: int = 0) -> Any:
    """The arrays, all of one shape, side by side along a new `axis`; dtypes are promoted."""
    return Stack.apply(*_several("stack", arrays), axis=axis)


def unstack(x: Value, axis: int = 0) -> tuple[Any, ...]:
    """The slices of x along `axis`, which they lack; views. The inverse of `stack`."""
    return Unstack.apply(x, axis=axis)


def split(x: Value, indices_or_sections: int | Sequence[int], axis: int = 0) -> tuple[Any, ...]:
    """x cut along `axis`; a tuple of views. The inverse of `concat`.

    An integer n asks for n equal parts (`ShapeError` if that leaves a rest); a sequence gives the
    places to cut before, from 0 to the length of the axis and never decreasing.
    """
    return Split.apply(x, cuts=indices_or_sections, axis=axis)


def axis_from_front(op: str, axis: int, ndim: int) -> int:
    """`axis` as a number from 0 to ndim - 1."""
    axis = whole(op, "axis", axis)
    if not -ndim <= axis < ndim:
        raise ShapeError(f"{op}: there is no axis {axis} in an array of {ndim} axes.")
    return axis % ndim


def _several(op: str, arrays: Sequence[Value]) -> Sequence[Value]:
    """The inputs of a joining op, of which there is at least one."""
    if not isinstance(arrays, Iterable):
        raise DtypeError(f"{op}: takes a sequence of arrays, not {type(arrays).__name__}.")
    arrays = list(arrays)
    if not arrays:
        raise ShapeError(f"{op}: there is nothing to join; give at least one array.")
    return arrays


def _cuts(cuts: int | Sequence[int], n: int) -> list[int]:
    if not isinstance(cuts, Iterable):
        if cuts < 1 or n % cuts:
            raise ShapeError(f"split: an axis of length {n} has no {cuts} equal parts.")
        return [n // cuts * i for i in range(1, cuts)]
    places = [int(c) for c in cuts]
    if any(a > b for a, b in zip([0, *places], [*places, n], strict=True)):
        raise ShapeError(f"split: cuts {places} must rise within 0..{n}, the length of the axis.")
    return places
