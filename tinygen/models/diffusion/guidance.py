"""Classifier-free guidance: one network, with and without the class (Ho and Salimans 2021,
"Classifier-free diffusion guidance").

In training the class is dropped now and then (`drop_classes`; a tenth to a fifth of them is usual),
so that the network learns both estimates of x0; in sampling they are extrapolated:

    guided = x0_without + scale (x0_with - x0_without)

scale 0 is the unconditional model, 1 the conditional one, above 1 the class is exaggerated. (Ho and
Salimans' w is scale - 1.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tinygen import ops
from tinygen.arguments import number, numbers
from tinygen.errors import ShapeError, UsageError
from tinygen.function import Value
from tinygen.models.diffusion.sampling.steps import Denoise
from tinygen.random import Generator
from tinygen.tensor import device_of


def guide(
    denoise: Callable[..., Any],
    y: Value,
    scale: float,
    *,
    interval: tuple[float, float] = (-math.inf, math.inf),
    without: Value = None,
) -> Denoise:
    """A denoiser for any sampler, from denoise(x, level, y) -> x0 and the classes y (N,).

    Guidance acts at levels low < level <= high of the `interval` and is off, at scale 1, elsewhere:
    at high noise it costs diversity, at low noise it does nothing (Kynkäänniemi et al. 2024,
    "Applying guidance in a limited interval"). The level is the sampler's own, sigma or t.
    `without` is the y that means no class. At scales 0 and 1 the network is evaluated once, and the
    result is exactly the unconditional or conditional estimate.
    """
    number("the guidance scale", scale)
    ends = numbers("the interval of guidance", interval)
    if len(ends) != 2 or not ends[0] < ends[1]:
        raise UsageError(f"guidance acts between two levels, and {interval} leaves none.")
    low, high = ends

    def guided(x: Value, level: float) -> Any:
        weight = scale if low < level <= high else 1.0
        if weight == 1:
            return denoise(x, level, y)
        x0_without = denoise(x, level, without)
        if weight == 0:
            return x0_without
        return x0_without + weight * (denoise(x, level, y) - x0_without)

    return guided


def drop_classes(
    y: Value,
    probability: float,
    *,
    null: int,
    rng: Generator | None = None,
    uniform: Value = None,
) -> Any:
    """The integers y (N,), each replaced with `probability` by `null`, the class that means none.

    `uniform` (N,) numbers in [0, 1) decide, and are drawn where not given.
    """
    number("the probability of dropping a class", probability, least=0, most=1)
    if uniform is None:
        if rng is None:
            raise UsageError("drop_classes draws: give the generator (rng=...) or uniform=...")
        uniform = rng.uniform(y.shape, dtype="float64", device=device_of(y))
    if uniform.shape != y.shape:
        raise ShapeError(f"{uniform.shape} uniform numbers for classes of shape {y.shape}.")
    return ops.where(uniform < probability, ops.full_like(y, null), y)
