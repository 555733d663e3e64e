"""Convolution layers, over (N, H, W, C) images and (N, L, C) sequences.

Weight and bias start as U(-b, b) with b = 1/sqrt(fan_in), where fan_in is the product of all axes
of the weight but the first. Every layer can be called with a `weight` in place of its own.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from tinygen import ops
from tinygen.backend.geometry import Pair
from tinygen.errors import UsageError
from tinygen.function import Value
from tinygen.nn import init
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.nn.sizes import require_sizes
from tinygen.ops.pairs import integer, pair
from tinygen.random import Generator


class Conv2d(Module):
    """`tg.ops.conv2d` with learned weight (out_channels, kH, kW, in_channels/groups) and bias.

    Sizes and options are one number or a pair for rows and columns. With padding="same" and a
    stride of 1 the output has the input's sides; where that needs an odd number of zeros, the one
    more stands at the end.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        *,
        stride: int | Pair = 1,
        padding: int | Pair | Literal["same"] = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        rng: Generator,
    ) -> None:
        _require_channels("Conv2d", in_channels, out_channels, groups)
        self.kernel_size = pair("Conv2d", "kernel_size", kernel_size, 1)
        self.stride = pair("Conv2d", "stride", stride, 1)
        self.dilation = pair("Conv2d", "dilation", dilation, 1)
        self.groups = groups
        self.same = padding == "same"
        rows, columns = (
            _zeros("Conv2d", padding if isinstance(padding, (int, str)) else padding[i], k, s, d)
            for i, (k, s, d) in enumerate(
                zip(self.kernel_size, self.stride, self.dilation, strict=True)
            )
        )
        self.padding, self.more = (rows[0], columns[0]), (rows[1], columns[1])
        shape = (out_channels, *self.kernel_size, in_channels // groups)
        self.weight, self.bias = _start(shape, out_channels, bias, rng)

    def forward(self, x: Value, weight: Value = None) -> Any:
        if any(self.more):
            x = ops.pad(x, ((0, 0), (0, self.more[0]), (0, self.more[1]), (0, 0)))
        return ops.conv2d(
            x,
            self.weight if weight is None else weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )

    def settings(self) -> str:
        out_channels, _, _, width = self.weight.shape
        return _settings(self, width * self.groups, out_channels)


class Conv1d(Module):
    """`tg.ops.conv1d` with learned weight (out_channels, k, in_channels/groups) and bias; as
    `Conv2d`, along the one axis of a sequence."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int | Literal["same"] = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        rng: Generator,
    ) -> None:
        _require_channels("Conv1d", in_channels, out_channels, groups)
        self.kernel_size = integer("Conv1d", "kernel_size", kernel_size, 1)
        self.stride = integer("Conv1d", "stride", stride, 1)
        self.dilation = integer("Conv1d", "dilation", dilation, 1)
        self.groups = groups
        self.same = padding == "same"
        self.padding, self.more = _zeros(
            "Conv1d", padding, self.kernel_size, self.stride, self.dilation
        )
        shape = (out_channels, self.kernel_size, in_channels // groups)
        self.weight, self.bias = _start(shape, out_channels, bias, rng)

    def forward(self, x: Value, weight: Value = None) -> Any:
        if self.more:
            x = ops.pad(x, ((0, 0), (0, self.more), (0, 0)))
        return ops.conv1d(
            x,
            self.weight if weight is None else weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )

    def settings(self) -> str:
        out_channels, _, width = self.weight.shape
        return _settings(self, width * self.groups, out_channels)


class ConvTranspose2d(Module):
    """`tg.ops.conv_transpose2d` with learned weight (in_channels, kH, kW, out_channels/groups) and
    bias: the adjoint of the `Conv2d` from `out_channels` to `in_channels` with the same options."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        *,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        output_padding: int | Pair = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        rng: Generator,
    ) -> None:
        name = "ConvTranspose2d"
        _require_channels(name, in_channels, out_channels, groups)
        self.kernel_size = pair(name, "kernel_size", kernel_size, 1)
        self.stride, self.dilation = (
            pair(name, "stride", stride, 1),
            pair(name, "dilation", dilation, 1),
        )
        self.padding = pair(name, "padding", padding, 0)
        self.output_padding = pair(name, "output_padding", output_padding, 0)
        self.groups = groups
        shape = (in_channels, *self.kernel_size, out_channels // groups)
        self.weight, self.bias = _start(shape, out_channels, bias, rng)

    def forward(self, x: Value, weight: Value = None) -> Any:
        return ops.conv_transpose2d(
            x,
            self.weight if weight is None else weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation=self.dilation,
            groups=self.groups,
        )

    def settings(self) -> str:
        in_channels, _, _, width = self.weight.shape
        return _settings(self, in_channels, width * self.groups)


def _require_channels(layer: str, in_channels: int, out_channels: int, groups: int) -> None:
    require_sizes(layer, in_channels=in_channels, out_channels=out_channels, groups=groups)
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if channels % groups:
            raise UsageError(
                f"{layer}: {name} is {channels}; it must be a multiple of groups, {groups}."
            )


def _zeros(layer: str, padding: int | str, kernel: int, stride: int, dilation: int) -> Pair:
    """How many zeros stand at both ends of an axis, and how many more at its end."""
    if padding == "same":
        if stride != 1:
            raise UsageError(
                f'{layer}: padding="same" needs a stride of 1, and it is {stride}; give the '
                "padding as a number."
            )
        needed = dilation * (kernel - 1)
        return needed // 2, needed % 2
    if isinstance(padding, str):
        raise UsageError(f'{layer}: padding is {padding!r}; give a number or "same".')
    return integer(layer, "padding", padding, 0), 0


def _start(
    shape: tuple[int, ...], out_channels: int, bias: bool, rng: Generator
) -> tuple[Parameter, Parameter | None]:
    weight = Parameter(init.kaiming_uniform(shape, math.sqrt(5), rng=rng))
    if not bias:
        return weight, None
    bound = 1 / math.sqrt(init.fans(shape)[0])
    return weight, Parameter(init.uniform((out_channels,), -bound, bound, rng=rng))


def _settings(layer: Any, in_channels: int, out_channels: int) -> str:
    """The sizes, and the options that are not their defaults."""
    text = f"{in_channels} -> {out_channels}, kernel_size={_short(layer.kernel_size)}"
    defaults = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1}
    for name, default in defaults.items():
        value = _short(getattr(layer, name, default))
        if name == "padding" and getattr(layer, "same", False):
            text += ", padding='same'"
        elif value != default:
            text += f", {name}={value}"
    return text if layer.bias is not None else f"{text}, bias=False"


def _short(value: int | Pair) -> int | Pair:
    """A pair of equal numbers as one."""
    return value[0] if isinstance(value, tuple) and value[0] == value[1] else value
