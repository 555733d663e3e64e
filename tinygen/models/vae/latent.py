"""Paths through a latent space: between two points, and along one axis."""

from __future__ import annotations

import numpy as np

from tinygen.arguments import integer
from tinygen.backend import Array
from tinygen.errors import DtypeError, ShapeError

PARALLEL = 1e-6
"""Sine of the angle below which two directions have no circle of their own."""


def interpolate(a: Array, b: Array, steps: int, *, spherical: bool = False) -> Array:
    """`steps` points from a to b, both (..., latent) -> (steps, ..., latent); the ends are exact.

    Straight lines, or with `spherical` great circles, (sin((1 - t) w) a + sin(t w) b) / sin w for
    the angle w between a and b: they keep the length that nearly all normal latents have,
    sqrt(latent) (White 2016, "Sampling generative networks", section 2). Vectors on one line have
    no single circle and are joined by the line.
    """
    if a.dtype.kind != "f" or b.dtype.kind != "f":
        raise DtypeError(
            f"interpolate: the ends are {a.dtype} and {b.dtype}, between which there are only "
            "integers; convert them with .astype('float32')."
        )
    if a.shape != b.shape:
        raise ShapeError(
            f"interpolate: the ends have shapes {a.shape} and {b.shape}; make them equal."
        )
    integer("interpolate: steps", steps, least=2)
    t = np.linspace(0, 1, steps, dtype=a.dtype).reshape(-1, *[1] * a.ndim)
    straight = (1 - t) * a + t * b
    if not spherical:
        return straight
    lengths = np.linalg.norm(a, axis=-1, keepdims=True) * np.linalg.norm(b, axis=-1, keepdims=True)
    cosine = np.vecdot(a, b)[..., None] / np.maximum(lengths, np.finfo(a.dtype).tiny)
    angle = np.arccos(np.clip(cosine, -1, 1))
    sine = np.sin(angle)
    curved = sine > PARALLEL
    round_way = (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.where(curved, sine, 1)
    points = np.where(curved, round_way, straight)
    points[0], points[-1] = a, b
    return points


def latent_walk(z: Array, axis: int, values: Array) -> Array:
    """z (latent,) with its component `axis` set to each of `values` (steps,): (steps, latent).
    Decoded, they show what that component means."""
    axis = integer("latent_walk: axis", axis)
    if z.ndim != 1 or not -len(z) <= axis < len(z):
        raise ShapeError(f"latent_walk: z of shape {z.shape} is one vector with no axis {axis}.")
    walk = np.repeat(z[None], len(values), axis=0)
    walk[:, axis] = values
    return walk
