"""What all samplers share: the step that they yield, and how they look at their arguments.

A sampler checks its arguments when it is called and works when it is asked: each `next` makes one
step. Given arrays it yields arrays and records no graph; given Tensors it yields Tensors, and
`tg.no_grad()` decides whether the gradient can flow back through the steps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from tinygen.arguments import numbers
from tinygen.errors import ShapeError, UsageError
from tinygen.function import Value
from tinygen.grad_mode import no_grad
from tinygen.models.diffusion.levels import normal_like, require_batch
from tinygen.ops import astype
from tinygen.random import Generator
from tinygen.tensor import Tensor, plain

Denoise: TypeAlias = Callable[[Any, Any], Any]
"""denoise(x, level) -> x0, the mean of the data given x, in x's shape. The level is a Python
number: the noise level sigma, or an integer time."""


class Step(NamedTuple):
    """A sampler's state after one step; unpacks as (step, sigma, x, x0)."""

    step: int
    """0 for the first."""
    sigma: float
    """The noise level that `x` has reached; 0 after the last step."""
    x: Any
    """The state, which is the sample itself after the last step."""
    x0: Any
    """The denoiser's estimate of the data, from which the step began."""


def checked(sampler: str, x: Value, sigmas: Sequence[float]) -> list[float]:
    """The noise levels as Python numbers. UsageError unless they fall strictly from a finite value
    to exactly 0; x must be a floating-point batch."""
    require_batch(sampler, x)
    levels = numbers(f"{sampler}: sigmas", sigmas)
    if len(levels) < 2:
        raise UsageError(
            f"{sampler}: {len(levels)} noise level(s) make no step; give the first, ... and 0."
        )
    for i, (high, low) in enumerate(itertools.pairwise(levels)):
        if not math.inf > high > low:
            raise UsageError(
                f"{sampler}: sigmas fall strictly from a finite value to 0, and sigmas[{i}] = "
                f"{high} is followed by {low}."
            )
    if levels[-1] != 0:
        raise UsageError(
            f"{sampler}: the last of sigmas is {levels[-1]}; end them in 0, where the sample is "
            "clean."
        )
    return levels


def estimate(denoise: Denoise, x: Value, level: float) -> Any:
    """denoise(x, level) in x's kind, shape and dtype."""
    if isinstance(x, Tensor):
        x0 = denoise(x, level)
    else:
        with no_grad():
            x0 = denoise(x, level)
        x0 = plain(x0)
    if getattr(x0, "shape", None) != x.shape:
        raise ShapeError(
            f"the denoiser was given x of shape {x.shape} and returned "
            f"{getattr(x0, 'shape', type(x0).__name__)}; it returns its estimate of x0, in x's "
            "shape."
        )
    return x0 if x0.dtype == x.dtype else astype(x0, x.dtype)


def draws(
    sampler: str, x: Value, rng: Generator | None, noise: Iterable[Value] | None
) -> Iterator[Any]:
    """Standard normal numbers like x, as often as they are asked for: from `noise` one after the
    other where that is given, else from `rng`. UsageError at once if neither is."""
    if rng is None and noise is None:
        raise UsageError(
            f"{sampler} adds noise: give the generator (rng=...), or noise=..., one array a draw; "
            "eta=0 needs neither."
        )
    return _draws(sampler, x, rng, noise)


def _draws(
    sampler: str, x: Value, rng: Generator | None, noise: Iterable[Value] | None
) -> Iterator[Any]:
    if noise is None:
        while True:
            yield normal_like(x, rng, None, sampler)
    for given in noise:
        yield normal_like(x, None, given, sampler)
    raise UsageError(f"{sampler} has used up its arrays of noise and needs one more.")
