"""Rotary position embedding (Su et al. 2021, "RoFormer", section 3.2)."""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.arguments import number
from tinygen.backend import Array, backend_of, require_one_device
from tinygen.errors import DtypeError, ShapeError
from tinygen.function import FusedFunction, Value
from tinygen.ops.checks import same_float_dtype
from tinygen.tensor import plain

__all__ = ["rope"]


class Rope(FusedFunction):
    """Rotate each pair (a, b) of features by its angle: (a c - b s, a s + b c).

    A rotation's adjoint is the rotation back:  (ga, gb) -> (ga c + gb s, gb c - ga s).
    """

    primitives = ("rotate_pairs",)

    @staticmethod
    def reference(x: Value, cos: Array, sin: Array, *, interleaved: bool) -> Value:
        if interleaved:
            a, b = x[..., 0::2], x[..., 1::2]
            pairs = ops.stack([a * cos - b * sin, a * sin + b * cos], axis=-1)
            return ops.reshape(pairs, x.shape)
        half = x.shape[-1] // 2
        a, b = x[..., :half], x[..., half:]
        return ops.concat([a * cos - b * sin, a * sin + b * cos], axis=-1)

    def forward(self, x: Array, cos: Array, sin: Array, *, interleaved: bool) -> Array:
        self.save(cos=cos, sin=sin)
        return self.backend.rotate_pairs(x, cos, sin, interleaved)

    def backward(self, g: Array) -> tuple[Array, None, None]:
        s, interleaved = self.saved, self.params["interleaved"]
        return self.backend.rotate_pairs(g, s.cos, s.sin, interleaved, back=True), None, None


def rope(
    x: Value, positions: Value = None, *, base: float = 10000.0, interleaved: bool = False
) -> Any:
    """Rotate the features of each token by angles proportional to its position.

    x (..., T, D), D even; `positions` (T,) numbers, 0 ... T-1 if left out. Feature pair i turns by
    position * base^(-2 i / D), so that the product of two rotated vectors depends on the difference
    of their positions only. Pairs are (i, i + D/2), as Llama checkpoints have them, or
    (2 i, 2 i + 1) if `interleaved`, as in the paper. Angles are computed in float64.
    """
    same_float_dtype("rope", x=x)
    if x.ndim < 2 or x.shape[-1] % 2:
        raise ShapeError(f"rope: x has shape {x.shape}; it is (..., T, D) with D even.")
    number("rope: base", base, above=0)
    data = plain(x)
    xp = backend_of([data]).xp
    T, D = x.shape[-2:]
    where = xp.arange(T) if positions is None else _positions(positions, T)
    require_one_device("rope", [("x", data), ("positions", where)])
    frequencies = xp.power(float(base), -xp.arange(0, D, 2, dtype="float64") / D)
    angles = where[:, None] * frequencies  # (T, D/2)
    cos, sin = xp.cos(angles).astype(x.dtype), xp.sin(angles).astype(x.dtype)
    return Rope.apply(x, cos, sin, interleaved=interleaved)


def _positions(positions: Value, T: int) -> Array:
    where = plain(positions)
    if getattr(getattr(where, "dtype", None), "kind", "") not in ("i", "u", "f"):
        raise DtypeError("rope: positions are an array of numbers.")
    if where.shape != (T,):
        raise ShapeError(f"rope: positions have shape {where.shape}, but x has {T} tokens.")
    return where
