"""Gradient clipping.

Gradients are replaced, not scaled in place: two leaves may share one gradient buffer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import groupby

from tinygen.arguments import number
from tinygen.backend import Array, backend_of
from tinygen.tensor import Tensor


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients together so that their joint Euclidean norm is at most `max_norm`
    (Pascanu et al. 2013, algorithm 1). Returns the norm before.

    A norm that is not finite is returned and the gradients stay: there is no right scale for them.
    With max_norm=math.inf the norm is measured only.
    """
    if max_norm != math.inf:
        number("clip_grad_norm: max_norm", max_norm, above=0)
    clipped = [p for p in _listed(parameters) if p.grad is not None]
    grads = [p.grad.data for p in clipped if p.grad is not None]
    total = math.hypot(*_norms(grads))
    if math.isfinite(total) and total > max_norm:
        for p, g in zip(clipped, grads, strict=True):
            p.grad = Tensor(_scaled(g, max_norm / total))
    return total


def clip_grad_value(parameters: Iterable[Tensor], limit: float) -> None:
    """Bring every element of every gradient into [-limit, limit]."""
    number("clip_grad_value: limit", limit, above=0)
    for p in _listed(parameters):
        if p.grad is not None:
            g = p.grad.data
            p.grad = Tensor(backend_of([g]).xp.clip(g, -limit, limit))


def _norms(grads: list[Array]) -> Iterator[float]:
    """The Euclidean norm of each; a device is asked for all of its squares at once, and waited for
    once."""
    for backend, group in groupby(grads, lambda g: backend_of([g])):
        alike = list(group)
        squares = backend.numbers([backend.xp.vdot(g, g) for g in alike])
        yield from map(_norm, alike, squares)


def _norm(g: Array, squares: float) -> float:
    """The Euclidean norm of a gradient of any size: where squares would leave the range of its
    dtype, they are those of its ratios to its largest element."""
    xp = backend_of([g]).xp
    limits = xp.finfo(g.dtype)
    if g.size * limits.smallest_normal / limits.eps < squares < math.inf:
        return math.sqrt(squares)
    largest = float(xp.maximum.reduce(xp.abs(g), axis=None, initial=0.0))
    if not 0 < largest < math.inf:
        return largest
    ratios = g / g.dtype.type(largest)
    return largest * math.sqrt(float(xp.vdot(ratios, ratios)))


def _scaled(g: Array, factor: float) -> Array:
    """factor g, where the dtype of g may be too narrow for the factor alone."""
    if factor >= backend_of([g]).xp.finfo(g.dtype).smallest_normal:
        return g * factor
    return (g.astype("float64") * factor).astype(g.dtype)


def _listed(parameters: Iterable[Tensor]) -> list[Tensor]:
    """One Tensor is taken as a list of itself: iterating over it would give its rows."""
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)
