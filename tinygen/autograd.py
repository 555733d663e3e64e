"""Reverse-mode differentiation: push gradients from the outputs of the graph to its leaves.

Nodes are numbered as they are made (`function.py`), so "largest number first" is a topological
order: a heap is all that the walk needs, no recursion and no sorting beforehand.

Second order: with `create_graph=True` the same `backward` methods run on Tensors instead of
arrays, because they are written in ops and operators, which take both. A `FusedFunction`, whose
fast `backward` is written by hand on raw arrays, is differentiated through its plain `reference`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any

from tinygen import ops, trace
from tinygen.arguments import FLOATS
from tinygen.backend import Array, is_view, raw, require_one_device
from tinygen.errors import DtypeError, GraphError, ShapeError
from tinygen.function import (
    Alias,
    Edge,
    Function,
    FusedFunction,
    Value,
    at_edge,
    edge_of,
    form_of,
    serial_numbers,
    wrap,
)
from tinygen.grad_mode import enable_grad
from tinygen.tensor import Tensor, plain

# ---- the walk ------------------------------------------------------------------------------------


def walk(
    roots: Sequence[tuple[Edge, Value]],
    targets: Sequence[Edge] | None = None,
    *,
    create_graph: bool,
    retain_graph: bool,
    floor: int = -1,
) -> list[Value | None]:
    """Push gradients from `roots`, pairs (edge, gradient), back through the graph.

    With `targets`, only nodes that lead to one are visited, and their gradients come back in order
    (`None` where no path led). Without, every leaf's gradient is added to its `.grad`.
    Nodes numbered `floor` or lower are a boundary that the walk does not cross.
    """
    wanted = None if targets is None else _leading_to(targets, roots, floor)
    found: dict[Edge, Value] = dict.fromkeys(targets or ())
    sums: dict[Edge, list[Any]] = {}  # [gradient so far, do we own its buffer?]
    heap: list[tuple[int, Function]] = []
    queued: set[Function] = set()

    def send(edge: Edge, g: Value) -> None:
        cell = sums.get(edge)
        if cell is None:
            sums[edge] = [g, False]
            owner = edge[0]
            if isinstance(owner, Function) and owner not in queued and owner.serial > floor:
                queued.add(owner)
                heapq.heappush(heap, (-owner.serial, owner))
        elif cell[1]:
            cell[0] += g
        else:  # out of place: a sibling may hold the same buffer
            total = cell[0] + g
            cell[:] = [total, False] if create_graph else [raw(total), True]

    for edge, g in roots:
        send(edge, g)
    while heap:
        node = heapq.heappop(heap)[1]
        grads: list[Value] = []
        for i in range(len(node.outputs)):
            cell = sums.pop((node, i), None)
            g = None if cell is None else cell[0]
            if g is not None and node.hooks is not None:
                g = _hooked(g, node.hooks.get(i, ()))
            if targets is not None and (node, i) in found:
                found[node, i] = g
            grads.append(g)
        if wanted is None:
            node.require_usable()
            _step(node, grads, create_graph, send)
        elif node in wanted:
            node.require_usable()
            full = node.needs
            node.needs = tuple(
                [e is not None and (e in found or e[0] in wanted) for e in node.edges or ()]
            )
            try:
                _step(node, grads, create_graph, send)
            finally:
                node.needs = full
        else:
            continue
        if not retain_graph:
            node.release()

    given: set[int] = set()
    for edge, (g, ours) in sums.items():
        owner = edge[0]
        if isinstance(owner, Tensor):
            if owner.hooks is not None:
                g = _hooked(g, owner.hooks)
            if targets is None:
                g = g if create_graph else wrap(g if ours else _own(g, given))
                owner.grad = g if owner.grad is None else owner.grad + g
        if edge in found:
            found[edge] = g
    return [found[edge] for edge in targets or ()]


def _step(
    node: Function, grads: list[Value], create_graph: bool, send: Callable[[Edge, Value], None]
) -> None:
    """One node's backward: the gradients of its outputs in, one sent along each needed edge."""
    for i, (shape, dtype, _) in enumerate(node.outputs):
        if grads[i] is None and dtype.kind in FLOATS:
            zeros = node.xp.zeros(shape, dtype)
            grads[i] = wrap(zeros) if create_graph else zeros
    if create_graph:
        with enable_grad():
            results = _on_tensors(node, grads)
    elif trace.active is None:
        results = node.backward(*grads)
    else:
        results = trace.active.backward(node, grads)
    results = results if isinstance(results, tuple) else (results,)
    edges = node.edges
    assert edges is not None
    if len(results) != len(edges):
        raise GraphError(
            f"{type(node).__name__}.backward returned {len(results)} gradients for "
            f"{len(edges)} inputs; return one per input, None where none is needed."
        )
    kind = Tensor if create_graph else node.backend.array_type
    for edge, need, g in zip(edges, node.needs, results, strict=True):
        if need and edge is not None:
            shape, dtype = form_of(edge)
            if type(g) is not kind or g.shape != shape or g.dtype != dtype:
                g = _conform(node, g, shape, dtype, create_graph)
            send(edge, g)


def _on_tensors(node: Function, grads: list[Value]) -> Value:
    """The node's backward as a graph of its own, for derivatives of higher order."""
    if isinstance(node, FusedFunction):
        return _through_reference(node, grads)
    return node.differentiable_backward(grads)


def _through_reference(node: FusedFunction, grads: list[Value]) -> Value:
    """Run the plain twin and differentiate that.

    It runs on fresh identity aliases of the inputs and the walk stops at them; otherwise an input
    used twice, or inputs that share history, would be counted twice.
    """
    assert node.inputs is not None
    assert node.edges is not None
    values = [at_edge(a, e) for a, e in zip(node.inputs, node.edges, strict=True)]
    aliases = [Alias.apply(v) if n else v for v, n in zip(values, node.needs, strict=True)]
    floor = next(serial_numbers)
    results = node.reference(*aliases, **node.params)
    results = results if isinstance(results, tuple) else (results,)
    targets = [edge_of(a) for a, need in zip(aliases, node.needs, strict=True) if need]
    roots = [
        (edge_of(y), g)
        for y, g in zip(results, grads, strict=True)
        if isinstance(y, Tensor) and y.requires_grad
    ]
    found = iter(walk(roots, targets, create_graph=True, retain_graph=True, floor=floor))
    return tuple(
        _or_zeros(next(found), v) if need else None
        for v, need in zip(values, node.needs, strict=True)
    )


def _conform(
    node: Function, g: Value, shape: tuple[int, ...], dtype: Any, create_graph: bool
) -> Value:
    """Every gradient has the shape and dtype of its value; broadcast inputs are summed back."""
    if g is None:
        raise GraphError(
            f"{type(node).__name__}.backward returned None for an input that requires a gradient; "
            "return zeros if it is zero."
        )
    if not isinstance(g, Tensor):
        g = raw(g)
        g = wrap(g) if create_graph else g
    if node.broadcasts and g.shape != shape:
        g = ops.sum_to(g, shape)
    if g.shape != shape or g.dtype != dtype:
        raise GraphError(
            f"{type(node).__name__}.backward returned {g.dtype}{list(g.shape)} as the gradient of "
            f"an input that is {dtype}{list(shape)}; a gradient has its input's shape and dtype."
        )
    return g


def _leading_to(
    targets: Sequence[Edge], roots: Sequence[tuple[Edge, Value]], floor: int
) -> set[Function]:
    """The nodes above `floor`, reachable from `roots`, from which some target can be reached."""
    reachable: set[Function] = set()
    stack = [edge[0] for edge, _ in roots]
    while stack:
        node = stack.pop()
        if isinstance(node, Function) and node not in reachable and node.serial > floor:
            node.require_usable()  # a freed node has lost its edges, and paths with them
            reachable.add(node)
            stack.extend(e[0] for e in node.edges or () if e is not None)
    aims, leading = set(targets), set[Function]()
    for node in sorted(reachable, key=lambda n: n.serial):
        if any(e is not None and (e in aims or e[0] in leading) for e in node.edges or ()):
            leading.add(node)
    return leading


def _hooked(g: Value, hooks: Sequence[Callable[[Tensor], Tensor | None]]) -> Value:
    for hook in hooks:
        tensor = g if isinstance(g, Tensor) else wrap(g)
        replaced = hook(tensor)
        if replaced is not None:
            if not isinstance(replaced, Tensor):
                raise GraphError(
                    f"a gradient hook returned a {type(replaced).__name__}; return a Tensor, or "
                    "None."
                )
            if replaced.shape != tensor.shape or replaced.dtype != tensor.dtype:
                raise GraphError(
                    f"a gradient hook returned {replaced.dtype}{list(replaced.shape)} for a "
                    f"gradient that is {tensor.dtype}{list(tensor.shape)}."
                )
            g = replaced if isinstance(g, Tensor) else replaced.data
    return g


def _own(g: Array, given: set[int]) -> Array:
    """g in memory that no other leaf's gradient shares, so that a user may write to it."""
    if id(g) in given or is_view(g):
        return g.copy()
    given.add(id(g))
    return g


def _or_zeros(g: Value | None, like: Value) -> Value:
    return ops.zeros_like(like) if g is None else g


# ---- what users call -----------------------------------------------------------------------------


def backward(
    y: Tensor,
    grad: Value | None = None,
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> None:
    """Add dy/dleaf, weighted by `grad`, to the `.grad` of every leaf that `y` depends on.

    `grad` has y's shape and may be left out when `y` has one element. The graph is freed on the
    way unless `retain_graph` (which follows `create_graph`); the latter makes the gradients
    differentiable themselves.
    """
    keep = create_graph if retain_graph is None else retain_graph
    with trace.phase("backward"):
        walk([_root(y, grad, create_graph)], create_graph=create_graph, retain_graph=keep)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Value | Sequence[Value | None] | None = None,
    *,
    create_graph: bool = False,
    retain_graph: bool | None = None,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of `outputs`, weighted by `grad_outputs`, by `inputs`; no `.grad` is touched.

    An input that the outputs do not depend on is an error, or gives `None` if `allow_unused`.
    """
    keep = create_graph if retain_graph is None else retain_graph
    ys, xs = _listed(outputs), _listed(inputs)
    if grad_outputs is None:
        gs: list[Value | None] = [None] * len(ys)
    else:
        gs = list(grad_outputs) if isinstance(grad_outputs, (list, tuple)) else [grad_outputs]
    if len(gs) != len(ys):
        raise ShapeError(f"grad: {len(ys)} outputs but {len(gs)} grad_outputs; give one for each.")
    for x in [*ys, *xs]:
        if not isinstance(x, Tensor):
            raise DtypeError(
                f"grad: outputs and inputs are Tensors, and one is a {type(x).__name__}."
            )
    for i, x in enumerate(xs):
        if not x.requires_grad and not allow_unused:
            raise GraphError(
                f"grad: input {i} (shape {x.shape}) does not require a gradient. Create it with "
                "requires_grad=True, or pass allow_unused=True to get None for it."
            )
    edges = [edge_of(x) for x in xs]
    with trace.phase("backward"):
        roots = [_root(y, g, create_graph) for y, g in zip(ys, gs, strict=True)]
        found = walk(roots, edges, create_graph=create_graph, retain_graph=keep)
    for i, (x, g) in enumerate(zip(xs, found, strict=True)):
        if g is None and not allow_unused:
            raise GraphError(
                f"grad: the outputs do not depend on input {i} (shape {x.shape}). Pass "
                "allow_unused=True to get None for it."
            )
    return tuple(g if g is None or isinstance(g, Tensor) else wrap(g) for g in found)


def _listed(tensors: Any) -> list[Any]:
    return list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]


def _root(y: Tensor, g: Value | None, create_graph: bool) -> tuple[Edge, Value]:
    if not y.requires_grad:
        raise GraphError(
            f"a tensor of shape {y.shape} has no graph to differentiate: none of its inputs has "
            "requires_grad=True, or it was computed under no_grad()."
        )
    if g is None:
        if y.size != 1:
            raise GraphError(
                f"the gradient of a tensor of shape {y.shape} needs a weight per element: pass "
                "`grad` with that shape, or reduce to one element first."
            )
        g = ops.ones_like(y.data)
    elif isinstance(g, (int, float)) and y.ndim == 0:
        g = ops.full_like(y.data, g)
    elif getattr(g, "shape", None) != y.shape or g.dtype != y.dtype:
        raise ShapeError(
            f"the output is {y.dtype}{list(y.shape)} but its gradient is "
            f"{getattr(g, 'dtype', type(g).__name__)}{list(getattr(g, 'shape', ()))}; "
            "give it the same shape and dtype."
        )
    require_one_device("backward", [("the output", y.data), ("its gradient", plain(g))])
    g = ops.copy(g)  # it may become some leaf's .grad, and the caller may write to it
    if create_graph:
        return edge_of(y), g if isinstance(g, Tensor) else wrap(g)
    return edge_of(y), g.data if isinstance(g, Tensor) else g


# `recompute` is built on the walk above, and is part of what users look for here.
from tinygen.recompute import checkpoint  # noqa: E402

__all__ = ["backward", "checkpoint", "grad", "walk"]
