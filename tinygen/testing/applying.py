"""Applying a catalogue op to a drawn call: outputs, gradients, second derivatives, nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from unittest import mock

import numpy as np

from tinygen import autograd, ops
from tinygen.backend import Array
from tinygen.function import Function, FusedFunction
from tinygen.tensor import Tensor
from tinygen.testing.bounds import as_tuple
from tinygen.testing.catalogue import Op
from tinygen.testing.derivatives import UNIT
from tinygen.testing.drawing import Call

Arrays = tuple[Array, ...]
Tensors = tuple[Tensor, ...]


def floating(results: Any) -> Tensors:
    """The outputs that can have a gradient."""
    return tuple(y for y in as_tuple(results) if y.dtype.kind == "f")


def inputs(op: Op, call: Call) -> Arrays:
    """The arrays that the op is differentiated by."""
    return tuple(call.arrays[i] for i in op.inputs(call))


def of_inputs(op: Op, call: Call) -> Callable[..., Any]:
    """The op as a function of those alone."""
    places = op.inputs(call)

    def f(*values: Any) -> Any:
        arguments = list(call.arrays)
        for i, v in zip(places, values, strict=True):
            arguments[i] = v
        return op.fn(*arguments, **call.params)

    return f


def leaves_of(arrays: Iterable[Array]) -> Tensors:
    return tuple(Tensor(x, requires_grad=True) for x in arrays)


def applied(op: Op, call: Call, dtype: Any = np.float64) -> tuple[Tensors, Tensors]:
    """Fresh leaves and the floating outputs; a dtype of None leaves every array its own."""
    cast = call if dtype is None else call.cast(dtype)
    leaves = leaves_of(inputs(op, cast))
    return leaves, floating(of_inputs(op, cast)(*leaves))


def cotangents(ys: Tensors, rng: np.random.Generator) -> Arrays:
    return tuple(np.asarray(rng.uniform(-1.5, 1.5, y.shape)) for y in ys)


def gradients(
    ys: Sequence[Tensor], leaves: Sequence[Tensor], gs: Sequence[Array], retain: bool = False
) -> Arrays:
    found = autograd.grad(ys, leaves, list(gs), retain_graph=retain, allow_unused=True)
    return tuple(
        np.zeros_like(x.data) if v is None else v.data for v, x in zip(found, leaves, strict=True)
    )


def two_orders(
    ys: Tensors, leaves: Tensors, gs: Arrays, ws: Arrays, order: int
) -> tuple[Arrays, ...]:
    """The gradient v of <g, y>, and for order 2 the gradient of <w, v>, by the leaves."""
    if order < 2:
        return (gradients(ys, leaves, gs),)
    found = autograd.grad(ys, leaves, list(gs), create_graph=True, allow_unused=True)
    first = tuple(
        np.zeros_like(x.data) if v is None else v.data for v, x in zip(found, leaves, strict=True)
    )
    pairs = [(v, w) for v, w in zip(found, ws, strict=True) if v is not None and v.requires_grad]
    if not pairs:
        return first, tuple(np.zeros_like(x.data) for x in leaves)
    vs, used = zip(*pairs, strict=True)
    return first, gradients(vs, leaves, used)


def witnessed(ys: Tensors) -> tuple[Tensors, Tensors]:
    """y + w for new leaves w of zeros: backward of + hands one array to both sides, so that the
    gradient of w shows what the op does to the gradient that it is given."""
    ws = leaves_of(np.zeros_like(y.data) for y in ys)
    return tuple(ops.add(y, w) for y, w in zip(ys, ws, strict=True)), ws


def nodes_of(tensors: Iterable[Tensor]) -> list[Function]:
    """Every node of the graph that `tensors` hang on."""
    stack = [y.node for y in tensors if y.node is not None]
    found: dict[int, Function] = {}
    while stack:
        node = stack.pop()
        if id(node) not in found:
            found[id(node)] = node
            stack.extend(e[0] for e in node.edges or () if e and isinstance(e[0], Function))
    return list(found.values())


def plain_ops() -> Any:
    """A context in which every fused op is its reference, made of plain ops."""

    def apply(cls: type[FusedFunction], *values: Any, **params: Any) -> Any:
        return cls.reference(*values, **params)

    return mock.patch.object(FusedFunction, "apply", classmethod(apply))


def rounding_of(gs: Arrays, ys: Tensors) -> float:
    """What float64 may leave where a gradient cancels: some u of the sum of |g| |y|."""
    terms = sum(float((np.abs(g) * np.abs(y.data)).sum()) for g, y in zip(gs, ys, strict=True))
    return 64 * UNIT * terms


def assert_same(found: Array, wanted: Array, what: str, rounding: float = 0.0) -> None:
    """Equal but for rounding in float64, relative to the largest element."""
    allowed = 1e-10 * float(np.abs(wanted).max(initial=0.0)) + rounding
    if found.shape != wanted.shape or not (np.abs(found - wanted) <= allowed).all():
        raise AssertionError(f"{what} is {found!r}, and should be {wanted!r}.")
