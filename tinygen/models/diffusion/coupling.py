"""The optimal pairing of two batches, by the Hungarian method.

Kuhn 1955 and Munkres 1957, in the form of shortest augmenting paths (Jonker and Volgenant 1987):
O(n^3), of which the innermost n is one NumPy row.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.errors import ShapeError
from tinygen.function import Value
from tinygen.models.diffusion.levels import Floats
from tinygen.tensor import as_numpy


def couple(x0: Value, noise: Value) -> Any:
    """`noise` (N, ...) in another order: the one in which sum |x0_i - noise_i|^2 is least."""
    a, b = (_rows(x) for x in (x0, noise))
    # |a - b|^2 without |a|^2 and |b|^2, whose sums no pairing changes.
    return noise[optimal_assignment(-2 * a @ b.T)]


def optimal_assignment(cost: Floats) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The permutation p (n,) with the least sum of cost[i, p[i]]; cost (n, n), finite.

    Rows enter one by one. Potentials u and v keep every reduced cost cost[i, j] - u[i] - v[j] at 0
    or more, and at 0 for assigned pairs; a new row is joined by the shortest path, in reduced
    costs, to a free column (Dijkstra), and the pairs along it are exchanged.
    """
    cost = np.asarray(cost, np.float64)
    n = len(cost)
    if cost.shape != (n, n) or not np.isfinite(cost).all():
        raise ShapeError(f"the costs of an assignment are a finite square, not {cost.shape}.")
    u, v = np.zeros(n), np.zeros(n)
    row_of = np.full(n, -1)  # of each column
    for start in range(n):
        distance, before = np.full(n, np.inf), np.full(n, -1)
        done = np.zeros(n, bool)
        row, column, length = start, -1, 0.0
        while row >= 0:
            reached = length + cost[row] - u[row] - v
            closer = ~done & (reached < distance)
            distance[closer], before[closer] = reached[closer], column
            column = int(np.where(done, np.inf, distance).argmin())
            length, row = distance[column], row_of[column]
            done[column] = True
        inner = done.copy()
        inner[column] = False
        u[row_of[inner]] += length - distance[inner]
        v[inner] -= length - distance[inner]
        u[start] += length
        while column >= 0:
            previous = before[column]
            row_of[column] = row_of[previous] if previous >= 0 else start
            column = previous
    return np.argsort(row_of)


def _rows(x: Value) -> Floats:
    array = as_numpy(x)
    return array.reshape(len(array), -1).astype(np.float64)
