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

__all__ = ["rope", "rotate_pairs"]


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


def rotate_pairs(x: Value, cos: Value, sin: Value, *, interleaved: bool = False) -> Any:
    """What `rope` does, by tables made before: (a c - b s, a s + b c) of each pair (a, b).

    x (..., T, D), D even; cos and sin (T, D/2), or more axes that broadcast to those of x, of x's
    dtype; they are not differentiated, and need not lie on the unit circle (YaRN scales them).
    One pair of tables serves the queries and keys of every layer.
    """
    same_float_dtype("rotate_pairs", x=x, cos=cos, sin=sin)
    if x.ndim < 2 or x.shape[-1] % 2:
        raise ShapeError(f"rotate_pairs: x has shape {x.shape}; it is (..., T, D) with D even.")
    pairs = (*x.shape[:-1], x.shape[-1] // 2)
    fits = cos.ndim <= len(pairs) and all(
        n in (1, m) for n, m in zip(reversed(cos.shape), reversed(pairs), strict=False)
    )
    if cos.shape != sin.shape or cos.shape[-1:] != pairs[-1:] or not fits:
        raise ShapeError(
            f"rotate_pairs: cos has shape {cos.shape} and sin {sin.shape}; both are (T, D/2), or "
            f"broadcast to {pairs}."
        )
    if any(getattr(table, "requires_grad", False) for table in (cos, sin)):
        raise DtypeError("rotate_pairs: the angles are not differentiated; pass cos.detach().")
    return Rope.apply(x, plain(cos), plain(sin), interleaved=interleaved)


def _positions(positions: Value, T: int) -> Array:
    where = plain(positions)
    if getattr(getattr(where, "dtype", None), "kind", "") not in ("i", "u", "f"):
        raise DtypeError("rope: positions are an array of numbers.")
    if where.shape != (T,):
        raise ShapeError(f"rope: positions have shape {where.shape}, but x has {T} tokens.")
    return where
