"""Images in another size."""

from __future__ import annotations

from typing import Any

from tinygen.backend import Array
from tinygen.backend.geometry import Pair
from tinygen.errors import UsageError
from tinygen.function import Function, Value
from tinygen.ops.pairs import pair
from tinygen.ops.pooling import require_images

__all__ = ["resize"]

MODES = ("nearest", "bilinear")


class Resize(Function):
    """y = R x, a linear map of rows and columns;  dx = R^T g."""

    def forward(self, x: Array, *, size: Pair, mode: str) -> Array:
        self.size = x.shape[1:3]
        return self.backend.resize(x, size, mode)

    def backward(self, g: Value) -> Value:
        return ResizeAdjoint.apply(g, size=self.size, mode=self.params["mode"])


class ResizeAdjoint(Function):
    """x = R^T g;  its own derivative is R."""

    def forward(self, g: Array, *, size: Pair, mode: str) -> Array:
        self.size = g.shape[1:3]
        return self.backend.resize_adjoint(g, size, mode)

    def backward(self, x: Value) -> Value:
        return Resize.apply(x, size=self.size, mode=self.params["mode"])


def resize(x: Value, size: int | Pair, *, mode: str = "nearest") -> Any:
    """x (N, H, W, C) -> (N, *size, C), by the nearest pixel or bilinearly ("bilinear").

    Pixels are squares with a centre: output i of H' rows looks at row (i + 1/2) H/H' - 1/2 of the
    input, and so for columns. "nearest" takes the pixel whose square holds that place; "bilinear"
    weights the two pixels around it, or takes the border pixel beyond the outermost centres. There
    is no antialiasing: when it makes smaller, pixels are left out.
    """
    require_images("resize", x)
    if mode not in MODES:
        raise UsageError(f"resize: unknown mode {mode!r}; use one of {MODES}.")
    return Resize.apply(x, size=pair("resize", "size", size, 1), mode=mode)
