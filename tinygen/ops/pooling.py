"""Pooling: one number for each window of an image, channel by channel.

N images, H rows, W columns, C channels; H' = floor((H + 2 padding - kernel) / stride) + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen import ops
from tinygen.backend import Array
from tinygen.backend.geometry import Pair
from tinygen.errors import ShapeError, UsageError
from tinygen.function import Function, FusedFunction, Value
from tinygen.ops.checks import same_float_dtype
from tinygen.ops.pairs import pair

__all__ = ["avg_pool2d", "max_pool2d"]


class MaxPool2d(FusedFunction):
    """y = max of each window;  dx = g at the place of the maximum, the first of equal ones."""

    primitives = ("max_pool_forward", "max_pool_backward")

    @staticmethod
    def reference(x: Value, *, kernel: Pair, stride: Pair, padding: Pair) -> Value:
        edges = ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0))
        padded = ops.pad(x, edges, -float("inf"))
        spans = [n + 2 * p - k + 1 for n, k, p in zip(x.shape[1:3], kernel, padding, strict=True)]
        windows = ops.stack(
            [
                padded[:, i : i + spans[0] : stride[0], j : j + spans[1] : stride[1]]
                for i in range(kernel[0])
                for j in range(kernel[1])
            ],
            axis=-1,
        )  # (N, H', W', C, places)
        first = ops.expand_dims(ops.argmax(windows, axis=-1), -1)
        return ops.squeeze(ops.take_along_axis(windows, first, axis=-1), axis=-1)

    def forward(self, x: Array, *, kernel: Pair, stride: Pair, padding: Pair) -> Array:
        self.size = x.shape[1:3]
        y, place = self.backend.max_pool_forward(x, kernel, stride, padding)
        self.save(place=place)
        return y

    def backward(self, g: Array) -> Array:
        return self.backend.max_pool_backward(g, self.saved.place, self.size, **self.params)

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return outputs[0].size * self.params["kernel"][0] * self.params["kernel"][1]


class AvgPool2d(Function):
    """y = mean of each window;  dx = g / size, spread over the window: its adjoint."""

    def forward(self, x: Array, **window: Any) -> Array:
        self.size = x.shape[1:3]
        return self.backend.avg_pool(x, **window)

    def backward(self, g: Value) -> Value:
        return AvgPool2dAdjoint.apply(g, size=self.size, **self.params)

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return outputs[0].size * sum(self.params["kernel"])


class AvgPool2dAdjoint(Function):
    """What averaging does to a gradient;  its own derivative is averaging again."""

    def forward(self, g: Array, *, size: Pair, **window: Any) -> Array:
        self.window = window
        return self.backend.avg_pool_adjoint(g, size, **window)

    def backward(self, x: Value) -> Value:
        return AvgPool2d.apply(x, **self.window)


def max_pool2d(
    x: Value, kernel_size: int | Pair, *, stride: int | Pair | None = None, padding: int | Pair = 0
) -> Any:
    """The maximum of each window: x (N, H, W, C) -> (N, H', W', C).

    `stride` is the kernel size if left out. Places in the padding are never the maximum; the
    padding is half the kernel at most, so that every window reaches into the image. Where several
    elements are the maximum, the gradient goes to the first of them, row by row.
    """
    window = _window("max_pool2d", x, kernel_size, stride, padding)
    return MaxPool2d.apply(x, **window)


def avg_pool2d(
    x: Value,
    kernel_size: int | Pair,
    *,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    count_include_pad: bool = True,
) -> Any:
    """The mean of each window: x (N, H, W, C) -> (N, H', W', C).

    `stride` is the kernel size if left out, the padding half of it at most. Padding counts as
    zeros, or not at all if `count_include_pad` is false: the divisor is then the number of places
    inside the image.
    """
    window = _window("avg_pool2d", x, kernel_size, stride, padding)
    return AvgPool2d.apply(x, **window, count_include_pad=bool(count_include_pad))


def require_images(op: str, x: Value) -> None:
    """Images are (N, H, W, C), of a floating dtype, with at least one row and column."""
    same_float_dtype(op, x=x)
    if x.ndim != 4 or 0 in x.shape[1:3]:
        raise ShapeError(
            f"{op}: x has shape {x.shape}; images are (N, H, W, C), with H and W at least 1."
        )


def _window(op: str, x: Value, kernel_size: Any, stride: Any, padding: Any) -> dict[str, Pair]:
    require_images(op, x)
    kernel = pair(op, "kernel_size", kernel_size, 1)
    steps = kernel if stride is None else pair(op, "stride", stride, 1)
    edges = pair(op, "padding", padding, 0)
    for n, k, p in zip(x.shape[1:3], kernel, edges, strict=True):
        if 2 * p > k:
            raise UsageError(
                f"{op}: padding {p} is more than half of the kernel {k}, so some windows would "
                "hold nothing but padding; make it smaller."
            )
        if n + 2 * p < k:
            raise ShapeError(
                f"{op}: a window of {k} does not fit into {n} with padding {p}; x has shape "
                f"{x.shape}."
            )
    return {"kernel": kernel, "stride": steps, "padding": edges}
