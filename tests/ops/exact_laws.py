"""Laws of linear and multilinear maps, checked with `==`: on small integers every sum is exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygen as tg
from tinygen import ops


def integers(shape: Any, seed: int = 0) -> np.ndarray:
    """Small integers as float64."""
    rng = np.random.default_rng([seed, len(shape), *shape])
    return rng.integers(-4, 5, shape).astype("float64")


def assert_linear(f: Callable[..., Any], *shapes: tuple[int, ...]) -> None:
    """f is linear, it serves arrays and Tensors alike, and its gradient of first and second order
    is its adjoint: with v, u, z arbitrary and y = f(x),

        v . f(z) = z . df^T v;      the gradient of sum w y^2, differentiated along u, is
                                    2 f^T(w f(u)).
    """

    def outputs(*xs: Any) -> list[Any]:
        y = f(*xs)
        return list(y) if isinstance(y, tuple) else [y]

    x, u, z = ([integers(s, seed) for s in shapes] for seed in (1, 2, 3))
    leaves = [tg.tensor(a, requires_grad=True) for a in x]
    ys = outputs(*leaves)
    for y, plain in zip(ys, outputs(*x), strict=True):
        assert type(y) is tg.Tensor
        assert type(plain) is np.ndarray
        assert y.requires_grad
        assert np.array_equal(y.numpy(), plain)
    v = [integers(y.shape, 4) for y in ys]
    w = [integers(y.shape, 5) for y in ys]
    total = sum((ops.sum(a * y) for a, y in zip(v, ys, strict=True)), start=0.0)
    grads = tg.grad(total, leaves)
    assert dot(v, outputs(*z)) == dot(z, [g.numpy() for g in grads])

    energy = sum((ops.sum(a * y * y) for a, y in zip(w, outputs(*leaves), strict=True)), start=0.0)
    first = tg.grad(energy, leaves, create_graph=True)
    along = sum((ops.sum(a * g) for a, g in zip(u, first, strict=True)), start=0.0)
    second = [g.numpy() for g in tg.grad(along, leaves)]
    weighted = [a * y for a, y in zip(w, outputs(*u), strict=True)]
    assert 2 * dot(weighted, outputs(*z)) == dot(z, second)


def assert_multilinear(f: Callable[..., Any], *shapes: tuple[int, ...]) -> None:
    """f is linear in each argument by itself. With f[i: a] for "a in place of argument i":

    v . f[i: z] = z . g_i,   d(sum_i u_i . g_i)/dx_j . z = sum over i != j of v . f[i: u_i, j: z].
    """
    x, u, z = ([integers(s, seed) for s in shapes] for seed in (1, 2, 3))
    leaves = [tg.tensor(a, requires_grad=True) for a in x]
    y = f(*leaves)
    assert np.array_equal(y.numpy(), f(*x))
    v = integers(y.shape, 4)
    first = tg.grad(ops.sum(v * y), leaves, create_graph=True)
    for i, g in enumerate(first):
        assert dot([v], [f(*x[:i], z[i], *x[i + 1 :])]) == dot([z[i]], [g.numpy()])
    if len(shapes) < 2:
        return
    along = sum((ops.sum(a * g) for a, g in zip(u, first, strict=True)), start=0.0)
    for j, h in enumerate(tg.grad(along, leaves)):
        want = 0.0
        for i in set(range(len(x))) - {j}:
            swapped = list(x)
            swapped[i], swapped[j] = u[i], z[j]
            want += dot([v], [f(*swapped)])
        assert dot([z[j]], [h.numpy()]) == want


def dot(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    return sum(float(np.sum(x * y)) for x, y in zip(a, b, strict=True))
