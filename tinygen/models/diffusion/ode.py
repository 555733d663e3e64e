"""The explicit Runge-Kutta pair of Dormand and Prince (1980), "A family of embedded Runge-Kutta
formulae": order 5, with an error estimate of order 4 from the same seven slopes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from tinygen.arguments import number
from tinygen.errors import DivergedError
from tinygen.models.diffusion.levels import Floats

Slope: TypeAlias = Callable[[float, Floats], Floats]
"""f(t, y) -> dy/dt, for y (N, D) float64."""

# fmt: off
NODES = (0, 1/5, 3/10, 4/5, 8/9, 1, 1)
STAGES = (
    (),
    (1/5,),
    (3/40, 9/40),
    (44/45, -56/15, 32/9),
    (19372/6561, -25360/2187, 64448/6561, -212/729),
    (9017/3168, -355/33, 46732/5247, 49/176, -5103/18656),
    (35/384, 0, 500/1113, 125/192, -2187/6784, 11/84),
)
LOWER = (5179/57600, 0, 7571/16695, 393/640, -92097/339200, 187/2100, 1/40)
# fmt: on


def dormand_prince_step(
    f: Slope, t: float, y: Floats, h: float, slope: Floats
) -> tuple[Floats, Floats, Floats]:
    """One step of size h from y, where f(t, y) is `slope`: (y of order 5, its difference from the
    y of order 4, the slope at the end, which is the next step's first)."""
    slopes = [slope]
    for node, row in zip(NODES[1:], STAGES[1:], strict=True):
        end = y + h * sum(a * k for a, k in zip(row, slopes, strict=True) if a)
        slopes.append(f(t + node * h, end))
    upper = (*STAGES[-1], 0)
    error = h * sum((a - b) * k for a, b, k in zip(upper, LOWER, slopes, strict=True) if a != b)
    return end, np.asarray(error), slopes[-1]


def dormand_prince(
    f: Slope,
    y: Floats,
    start: float,
    stop: float,
    *,
    rtol: float = 1e-6,
    atol: float = 1e-6,
    max_steps: int = 10_000,
) -> Floats:
    """y (N, D) at `stop`, from y at `start`; either may be the larger.

    The step is chosen so that the estimated error of a step, the root mean square of error /
    (atol + rtol |y|) over a row, stays below 1 in every row: no row is worse for the company it is
    in. DivergedError where that takes more than `max_steps` steps.
    """
    for name, value in (("start", start), ("stop", stop)):
        number(f"dormand_prince: {name}", value)
    for name, value in (("rtol", rtol), ("atol", atol)):
        number(f"dormand_prince: {name}", value, above=0)
    y = np.asarray(y, np.float64)
    if start == stop or y.size == 0:
        return y
    t, h, slope = start, (stop - start) / 100, f(start, y)
    for _ in range(max_steps):
        last = abs(h) >= abs(stop - t)
        h = stop - t if last else h
        end, error, slope_end = dormand_prince_step(f, t, y, h, slope)
        scale = atol + rtol * np.maximum(abs(y), abs(end))
        size = float(np.sqrt(np.mean((error / scale) ** 2, axis=-1)).max())
        if size <= 1:
            t, y, slope = t + h, end, slope_end
            if last:
                return y
        # The error grows as h^5; not finite means far too large a step.
        factor = 0.9 * max(size, 1e-10) ** -0.2 if math.isfinite(size) else 0.0
        h *= min(5.0, max(0.2, factor))
    raise DivergedError(
        f"the solution from {start} to {stop} got only to {t} in {max_steps} steps; is the right "
        "side finite and smooth? Otherwise allow larger errors: rtol and atol."
    )
