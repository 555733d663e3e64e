"""Channels turned into pixels, and back (Shi et al. 2016, section 3.2)."""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.arguments import integer
from tinygen.errors import DtypeError, ShapeError
from tinygen.function import Value

__all__ = ["pixel_shuffle", "pixel_unshuffle"]


def pixel_shuffle(x: Value, factor: int) -> Any:
    """(N, H, W, C r r) -> (N, H r, W r, C), r = `factor`: pixel (h r + i, w r + j) of channel c
    comes from pixel (h, w) of channel (c r + i) r + j."""
    r = _checked("pixel_shuffle", x, factor)
    N, H, W, packed = x.shape
    if packed % (r * r):
        raise ShapeError(
            f"pixel_shuffle: {packed} channels are no multiple of factor^2 = {r * r}; x has shape "
            f"{x.shape}."
        )
    C = packed // (r * r)
    cells = ops.reshape(x, (N, H, W, C, r, r))
    pixels = ops.permute_dims(cells, (0, 1, 4, 2, 5, 3))  # (N, H, r, W, r, C)
    return ops.reshape(pixels, (N, H * r, W * r, C))


def pixel_unshuffle(x: Value, factor: int) -> Any:
    """(N, H r, W r, C) -> (N, H, W, C r r), the inverse of `pixel_shuffle`."""
    r = _checked("pixel_unshuffle", x, factor)
    N, H, W, C = x.shape
    if H % r or W % r:
        raise ShapeError(
            f"pixel_unshuffle: {H} x {W} pixels cannot be cut into squares of {r}; x has shape "
            f"{x.shape}."
        )
    pixels = ops.reshape(x, (N, H // r, r, W // r, r, C))
    cells = ops.permute_dims(pixels, (0, 1, 3, 5, 2, 4))  # (N, H/r, W/r, C, r, r)
    return ops.reshape(cells, (N, H // r, W // r, C * r * r))


def _checked(op: str, x: Value, factor: int) -> int:
    if not hasattr(x, "dtype") or not hasattr(x, "shape"):
        raise DtypeError(f"{op}: x is an array or a Tensor, not {type(x).__name__}.")
    if x.ndim != 4:
        raise ShapeError(f"{op}: x has shape {x.shape}; images are (N, H, W, C).")
    return integer(f"{op}: factor", factor, 1)
