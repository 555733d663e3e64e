"""Pooling as modules, for `Sequential`."""

from __future__ import annotations

from typing import Any

from tinygen import ops
from tinygen.backend.geometry import Pair
from tinygen.function import Value
from tinygen.nn.module import Module


class MaxPool2d(Module):
    """`tg.ops.max_pool2d`: the maximum of each window of x (N, H, W, C)."""

    def __init__(
        self,
        kernel_size: int | Pair,
        *,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
    ) -> None:
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Value) -> Any:
        return ops.max_pool2d(x, self.kernel_size, stride=self.stride, padding=self.padding)

    def settings(self) -> str:
        return f"{self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(Module):
    """`tg.ops.avg_pool2d`: the mean of each window of x (N, H, W, C)."""

    def __init__(
        self,
        kernel_size: int | Pair,
        *,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        count_include_pad: bool = True,
    ) -> None:
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.count_include_pad = count_include_pad

    def forward(self, x: Value) -> Any:
        return ops.avg_pool2d(
            x,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            count_include_pad=self.count_include_pad,
        )

    def settings(self) -> str:
        return f"{self.kernel_size}, stride={self.stride}, padding={self.padding}"
