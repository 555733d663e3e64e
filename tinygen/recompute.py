"""Recomputation: trade one more forward pass for the memory of a segment's activations."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from tinygen import random
from tinygen.arguments import FLOATS
from tinygen.autograd import walk
from tinygen.backend import Array, backend_of
from tinygen.errors import DtypeError
from tinygen.function import (
    Alias,
    Edge,
    Function,
    Value,
    at_edge,
    edge_of,
    form_of,
    serial_numbers,
    wrap,
)
from tinygen.grad_mode import enable_grad, is_recording
from tinygen.tensor import Tensor, plain


class _Replays(threading.local):
    depth = 0


_replays = _Replays()


def is_replaying() -> bool:
    """Whether `checkpoint` is computing a pass again, whose side effects took place already."""
    return _replays.depth > 0


@contextmanager
def _replaying() -> Iterator[None]:
    _replays.depth += 1
    try:
        yield
    finally:
        _replays.depth -= 1


def checkpoint(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`fn(*args, **kwargs)`, keeping only the inputs: activations are computed again in the
    backward pass.

    Costs one more forward of `fn` and saves its activations (Chen et al. 2016, "Training deep nets
    with sublinear memory cost"). Random draws made by `fn` are replayed, so dropout masks agree.
    Tensors that `fn` captures (weights), or gets by name, have their gradients as usual. `fn` must
    be pure otherwise: what has to happen only once asks `is_replaying`.
    """
    fn = partial(fn, **kwargs) if kwargs else fn
    if not is_recording():
        return fn(*args)
    return Recompute.run(fn, args)


class Recompute(Function):
    """The node of `checkpoint`: its backward runs `fn` again, recorded, and walks that graph."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    draws: random.Draws

    @classmethod
    def run(cls, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        node = cls()
        node.fn = fn
        node.args = tuple(plain(x) for x in args)
        edges = [edge_of(x) if isinstance(x, Tensor) and x.requires_grad else None for x in args]
        floor = next(serial_numbers)
        aliases = [x if e is None else _leaf(x.data) for x, e in zip(args, edges, strict=True)]
        seen = [(x.updates, x.updates[0]) for x in args if isinstance(x, Tensor)]
        # Run it recorded, only to learn which tensors it captures; that graph is dropped at once.
        with random.record_draws() as node.draws:
            results = fn(*aliases)
        single = isinstance(results, Tensor)
        tensors = (results,) if single else _tensors(results)
        own = {(x, 0) for x in aliases if isinstance(x, Tensor)}
        beyond, inner = _boundary(tensors, floor)
        captured = [e for e in beyond if e not in own]
        if not captured and not any(edges):
            return results
        node.edges = (*edges, *captured)
        node.needs = tuple(e is not None for e in node.edges)
        node.outputs = tuple((y.shape, y.dtype, id(y.data)) for y in tensors)
        # All of it is computed again: nothing that it reads may have changed by then.
        captured_leaves = [e[0] for e in captured if isinstance(e[0], Tensor)]
        node.seen = seen + [(x.updates, x.updates[0]) for x in captured_leaves]
        node.seen += [guard for part in inner for guard in part.seen]
        node.backend = backend_of([tensors[0].data])
        node.xp = node.backend.xp
        node.serial = next(serial_numbers)
        wrapped = tuple(wrap(y.data, node, i) for i, y in enumerate(tensors))
        return wrapped[0] if single else wrapped

    def backward(self, *grads: Value) -> Any:
        return self._again([_leaf(a) if e else a for a, e in self._inputs()], grads, False)

    def differentiable_backward(self, grads: Sequence[Tensor]) -> Any:
        inputs = [Alias.apply(at_edge(a, e)) if e else a for a, e in self._inputs()]
        return self._again(inputs, grads, True)

    def _inputs(self) -> list[tuple[Any, Edge | None]]:
        assert self.edges is not None
        return list(zip(self.args, self.edges, strict=False))  # the captured edges come after

    def _again(self, inputs: list[Any], grads: Sequence[Value], create_graph: bool) -> Any:
        assert self.edges is not None
        floor = next(serial_numbers)
        with random.replay(self.draws), enable_grad(), _replaying():
            results = self.fn(*inputs)
        tensors = (results,) if isinstance(results, Tensor) else _tensors(results)
        roots = [(edge_of(y), g) for y, g in zip(tensors, grads, strict=True) if y.requires_grad]
        captured = self.edges[len(inputs) :]
        places = [edge_of(x) if isinstance(x, Tensor) else None for x in inputs] + list(captured)
        targets = [p for p, need in zip(places, self.needs, strict=True) if need and p]
        found = iter(
            walk(roots, targets, create_graph=create_graph, retain_graph=create_graph, floor=floor)
        )
        return tuple(
            self._found(next(found), e) if need and e else None
            for e, need in zip(self.edges, self.needs, strict=True)
        )

    def _found(self, g: Value | None, edge: Edge) -> Value:
        return self.xp.zeros(*form_of(edge)) if g is None else g


def _leaf(array: Array) -> Tensor:
    tensor = wrap(array)
    tensor.requires_grad = array.dtype.kind in FLOATS
    return tensor


def _tensors(results: Any) -> tuple[Tensor, ...]:
    if not isinstance(results, (tuple, list)) or not all(isinstance(y, Tensor) for y in results):
        raise DtypeError(
            "checkpoint: the function returns a Tensor or a tuple of Tensors, not "
            f"{type(results).__name__}."
        )
    return tuple(results)


def _boundary(tensors: Sequence[Tensor], floor: int) -> tuple[list[Edge], set[Function]]:
    """The edges by which the graph of `tensors` leaves the nodes numbered above `floor`, and these
    nodes."""
    edges: dict[Edge, None] = {}
    stack = [edge_of(y) for y in tensors if y.requires_grad]
    seen: set[Function] = set()
    while stack:
        edge = stack.pop()
        owner = edge[0]
        if isinstance(owner, Tensor) or owner.serial <= floor:
            edges[edge] = None
        elif owner not in seen:
            seen.add(owner)
            stack.extend(e for e in owner.edges or () if e is not None)
    return list(edges), seen
