"""Convolution layers, over (N, H, W, C) images and (N, L, C) sequences.

Weight and bias start as U(-b, b) with b = 1/sqrt(fan_in), where fan_in is the product of all axes
of the weight but the first. Every layer can be called with a `weight` in place of its own.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

from tinygen import ops
from tinygen.arguments import integer
from tinygen.backend.geometry import Pair
from tinygen.errors import UsageError
from tinygen.function import Value
from tinygen.nn import init
from tinygen.nn.module import Module
from tinygen.nn.parameter import Parameter
from tinygen.nn.sizes import require_sizes
from tinygen.ops.pairs import pair
from tinygen.random import Generator


class _Convolution(Module):
    """`Conv1d` and `Conv2d`: the same options, along one axis or two."""

    axes: ClassVar[int]

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
        _require_channels(type(self).__name__, in_channels, out_channels, groups)
        self.kernel_size = self._by_axis("kernel_size", kernel_size, 1)
        self.stride = self._by_axis("stride", stride, 1)
        self.dilation = self._by_axis("dilation", dilation, 1)
        self.groups = groups
        self.same = padding == "same"
        if isinstance(padding, str):
            self.padding, self.more = self._halves(padding)
        else:
            self.padding, self.more = self._by_axis("padding", padding, 0), (0,) * self.axes
        shape = (out_channels, *self.kernel_size, in_channels // groups)
        self.weight, self.bias = _start(shape, out_channels, bias, rng)

    def _by_axis(self, name: str, value: Any, least: int) -> Any:
        """The option `name` as a tuple with one number for each axis."""
        layer = type(self).__name__
        if self.axes == 2:
            return pair(layer, name, value, least)
        return (integer(f"{layer}: {name}", value, least),)

    def _halves(self, padding: str) -> tuple[Any, Any]:
        """padding="same": how many zeros stand at both ends of each axis, and how many more at its
        end."""
        layer = type(self).__name__
        if padding != "same":
            raise UsageError(f'{layer}: padding is {padding!r}; give a number or "same".')
        if any(stride != 1 for stride in self.stride):
            raise UsageError(
                f'{layer}: padding="same" needs a stride of 1, and it is {_short(self.stride)}; '
                "give the padding as a number."
            )
        needed = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        return tuple(n // 2 for n in needed), tuple(n % 2 for n in needed)

    def forward(self, x: Value, weight: Value = None) -> Any:
        if any(self.more):
            x = ops.pad(x, ((0, 0), *((0, more) for more in self.more), (0, 0)))
        return self._convolved(x, self.weight if weight is None else weight)

    def _convolved(self, x: Value, weight: Value) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define _convolved")

    def settings(self) -> str:
        out_channels, *_, width = self.weight.shape
        return _settings(self, width * self.groups, out_channels)


class Conv2d(_Convolution):
    """`tg.ops.conv2d` with learned weight (out_channels, kH, kW, in_channels/groups) and bias.

    Sizes and options are one number or a pair for rows and columns. With padding="same" and a
    stride of 1 the output has the input's sides; where that needs an odd number of zeros, the one
    more stands at the end.
    """

    axes = 2

    def _convolved(self, x: Value, weight: Value) -> Any:
        return ops.conv2d(
            x,
            weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )


class Conv1d(_Convolution):
    """`tg.ops.conv1d` with learned weight (out_channels, k, in_channels/groups) and bias; as
    `Conv2d`, along the one axis of a sequence, with one number an option."""

    axes = 1

    def _convolved(self, x: Value, weight: Value) -> Any:
        (stride,), (padding,), (dilation,) = self.stride, self.padding, self.dilation
        return ops.conv1d(
            x,
            weight,
            self.bias,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=self.groups,
        )


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
        self.stride = pair(name, "stride", stride, 1)
        self.dilation = pair(name, "dilation", dilation, 1)
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


def _short(value: Any) -> Any:
    """Equal numbers of all axes as one."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value
