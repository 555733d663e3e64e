"""Laws about the graph that an op leaves: none where none was asked for, none that outlives it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from tinygen import autograd
from tinygen.function import Function, FusedFunction
from tinygen.grad_mode import no_grad
from tinygen.tensor import Tensor
from tinygen.testing.applying import applied, cotangents, gradients, nodes_of
from tinygen.testing.bounds import as_tuple
from tinygen.testing.catalogue import Op
from tinygen.testing.drawing import Call
from tinygen.testing.laws.law import LawError, first_order_only, law, not_differentiable


@law("smooth", exempt=not_differentiable)
def no_graph(op: Op, call: Call, rng: np.random.Generator) -> None:
    """Under `no_grad`, and where no input requires a gradient, nothing is recorded."""
    recording, constant = (
        [
            Tensor(a, wanted and i in op.inputs(call)) if isinstance(a, np.ndarray) else a
            for i, a in enumerate(call.arrays)
        ]
        for wanted in (True, False)
    )
    with no_grad():
        results = as_tuple(op.fn(*recording, **call.params))
    for y in (*results, *as_tuple(op.fn(*constant, **call.params))):
        if not any(y is x for x in recording) and (y.node is not None or y.requires_grad):
            raise LawError("an output has a graph that nobody asked for.")


@law("smooth", exempt=not_differentiable)
def graph(op: Op, call: Call, rng: np.random.Generator) -> None:
    """Every floating output has a node, and the entry says rightly whether one is fused."""
    _, ys = applied(op, call)
    if not all(y.requires_grad for y in ys):
        raise LawError("an output of inputs that require a gradient does not require one.")
    fused = any(isinstance(node, FusedFunction) for node in nodes_of(ys))
    if fused != op.fused:
        raise LawError(f"a fused node was {'' if fused else 'not '}found; correct the entry.")


@law("smooth", exempt=not_differentiable)
def freed(op: Op, call: Call, rng: np.random.Generator) -> None:
    """Backward frees what forward saved, and the graph dies with its outputs, at once."""
    with _no_collector():
        leaves, ys = applied(op, call)
        nodes = _watched(ys)
        gradients(ys, leaves, cotangents(ys, rng))
        if any(node.saved is not None for node in _alive(nodes)):
            raise LawError("backward left saved arrays behind.")
        leaves, ys = applied(op, call)
        nodes += _watched(ys)
        del ys
        _all_dead(nodes)


@law("smooth", exempt=first_order_only)
def freed_second_order(op: Op, call: Call, rng: np.random.Generator) -> None:
    """With `create_graph` the graph is larger, and dies as surely."""
    with _no_collector():
        leaves, ys = applied(op, call)
        gs = list(cotangents(ys, rng))
        found = autograd.grad(ys, leaves, gs, create_graph=True, allow_unused=True)
        nodes = _watched((*ys, *(v for v in found if v is not None)))
        del ys, found
        _all_dead(nodes)


@contextmanager
def _no_collector() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _watched(tensors: Iterable[Tensor]) -> list[weakref.ref[Function]]:
    return [weakref.ref(node) for node in nodes_of(tensors)]


def _alive(nodes: list[weakref.ref[Function]]) -> Iterator[Function]:
    return (node for node in (r() for r in nodes) if node is not None)


def _all_dead(nodes: list[weakref.ref[Function]]) -> None:
    kept = {type(node).__name__ for node in _alive(nodes)}
    if kept:
        raise LawError(f"the graph outlives its outputs: {', '.join(sorted(kept))} in a cycle.")
