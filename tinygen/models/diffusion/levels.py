"""Noise levels and examples: one number for all, or one an example, as factors of a batch.

Levels (times t, noise levels sigma, and what is computed from them) are Python numbers or float64
arrays (N,); a batch x is (N, ...) in the network's dtype. Products of both go through here, so that
float32 stays float32 and a level never meets the wrong axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.backend import Array, backend_of
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.function import Value
from tinygen.random import Generator
from tinygen.tensor import as_numpy, device_of, plain

Floats = np.ndarray[Any, np.dtype[np.float64]]

Level = Any
"""A number, or an array with one number an example, (N,)."""


def as_floats(level: Level) -> Floats:
    """`level` as float64, () or (N,); NaN, which every range refuses, where it is no number."""
    try:
        is_array = hasattr(level, "shape") and not isinstance(level, np.generic)
        return np.asarray(as_numpy(level) if is_array else level, np.float64)
    except (TypeError, ValueError):
        return np.asarray(np.nan)


def noise_levels(sigma: Level) -> Floats:
    """`sigma` as float64, () or (N,); UsageError unless finite and 0 or more."""
    levels = as_floats(sigma)
    if not np.all((levels >= 0) & np.isfinite(levels)):
        raise UsageError(f"a noise level is finite and 0 or more, and this is {sigma!r}.")
    return levels


def per_example(level: Level, x: Value) -> Any:
    """`level` as a factor of `x` (N, ...): a Python number, or an array (N, 1, ..., 1) of x's
    dtype."""
    level = plain(level)
    if np.ndim(level) == 0:
        return float(level)
    if level.shape != x.shape[:1]:
        raise ShapeError(
            f"levels of shape {level.shape} do not fit a batch of shape {x.shape}; give one "
            f"number, or one an example: {x.shape[:1]}."
        )
    shape = (-1,) + (1,) * (x.ndim - 1)
    return _backend(x).asarray(level.reshape(shape).astype(x.dtype))


def one_each(level: Level, x: Value) -> Array:
    """`level` as (N,) numbers of x's dtype: what a network is given as its time."""
    backend = _backend(x)
    return backend.xp.broadcast_to(backend.asarray(plain(level)), x.shape[:1]).astype(x.dtype)


def require_batch(what: str, x: Value) -> None:
    """Raise unless `x` is a floating-point array or Tensor with a batch axis."""
    dtype = getattr(x, "dtype", None)
    if getattr(dtype, "kind", None) != "f":
        raise DtypeError(
            f"{what}: x is a floating-point array or Tensor, not {dtype or type(x).__name__}; "
            "convert it with .astype('float32')."
        )
    if x.ndim < 1:
        raise ShapeError(f"{what}: x has no batch axis; give (N, ...), with N = 1 for one example.")


def normal_like(x: Value, rng: Generator | None, noise: Value, what: str) -> Value:
    """`noise` where it is given, else standard normal numbers in x's shape and dtype."""
    if noise is None:
        if rng is None:
            raise UsageError(f"{what} draws noise: give the generator (rng=...) or noise=...")
        return rng.normal(x.shape, x.dtype, device_of(x))
    if noise.shape != x.shape or noise.dtype != x.dtype:
        raise ShapeError(
            f"{what}: the noise is {noise.dtype}{list(noise.shape)} and x {x.dtype}{list(x.shape)};"
            " give it the shape and dtype of x."
        )
    return noise


def _backend(x: Value) -> Any:
    return backend_of([plain(x)])
