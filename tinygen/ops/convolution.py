"""Convolution of images (N, H, W, C), and the two other sides of the same coin.

    T(x, w, g) = sum over n, p, q, i, j, c, o of  x[n, p s + i d - pad, q s + j d - pad, c]
                                                  w[o, i, j, c]  g[n, p, q, o]

is linear in the image x, the kernel w and the gradient g of the output. Its derivative by each of
them is an operation on the other two:

    dT/dg = Conv2d(x, w)    dT/dx = ConvTranspose2d(g, w)    dT/dw = Conv2dWeightGradient(x, g)

(x is zero outside the image.) The derivatives of any of the three are again among the three, so
each `backward` below calls the other two, and a gradient of any order runs at full speed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

from tinygen import ops
from tinygen.arguments import integer
from tinygen.backend import Array
from tinygen.backend.geometry import Geometry, Pair
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.function import Function, Value
from tinygen.ops.checks import same_float_dtype
from tinygen.ops.pairs import pair

__all__ = ["conv1d", "conv2d", "conv_transpose2d"]

# Every one of the three takes the `size` of its result's two inner axes: all that the operands do
# not tell.


class OfImageAndWeight(Function):
    """What `Conv2d` and `ConvTranspose2d`, each other's adjoint, have in common."""

    adjoint: type[OfImageAndWeight]

    def forward(
        self, x: Array, weight: Array, bias: Array, *, size: Pair, geometry: Geometry
    ) -> Array:
        if self.needs:
            kept = {"x": x} if self.needs[1] else {}
            self.save(**(kept | {"weight": weight} if self.needs[0] else kept))
            self.sides, self.kernel = x.shape[1:3], weight.shape[1:3]
        return self.run(x, weight, bias, size, geometry)

    def run(self, x: Array, weight: Array, bias: Array, size: Pair, geometry: Geometry) -> Array:
        """The pass of the back end."""
        raise NotImplementedError

    def backward(self, g: Value) -> tuple[Value, Value, Value]:
        needs_x, needs_weight, needs_bias = self.needs
        geometry, saved = self.params["geometry"], self.saved
        dx = dweight = None
        if needs_x:
            dx = self.adjoint.apply(g, saved.weight, None, size=self.sides, geometry=geometry)
        if needs_weight:  # from the image of the two, and the gradient of its convolution
            operands = (saved.x, g) if self.adjoint is ConvTranspose2d else (g, saved.x)
            dweight = Conv2dWeightGradient.apply(*operands, size=self.kernel, geometry=geometry)
        return dx, dweight, _channel_sums(g) if needs_bias else None


class Conv2d(OfImageAndWeight):
    """y = dT/dg + b;  dx = ConvTranspose2d(g, w),  dw = Conv2dWeightGradient(x, g),  db = sum g."""

    primitives = ("conv2d_forward",)

    @staticmethod
    def reference(x: Value, weight: Value, bias: Value, *, size: Pair, geometry: Geometry) -> Value:
        """One tap of the kernel after another: the image shifted by it, times its matrix."""
        kernels = _grouped(weight, 0, geometry.groups)  # (groups, O/groups, kh, kw, C/groups)
        y = sum(
            ops.einsum("npqgc,goc->npqgo", window, kernels[:, :, i, j])
            for i, j, window in _windows(x, weight.shape[1:3], size, geometry)
        )
        y = ops.reshape(y, (*y.shape[:3], weight.shape[0]))
        return y if bias is None else y + bias

    def run(self, x: Array, weight: Array, bias: Array, size: Pair, geometry: Geometry) -> Array:
        return self.backend.conv2d_forward(x, weight, bias, size, geometry)

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 2 * outputs[0].size * prod(arrays[1].shape[1:])


class ConvTranspose2d(OfImageAndWeight):
    """y = dT/dx + b at g = x;  dx = Conv2d(g, w),  dw = Conv2dWeightGradient(g, x),  db = sum g."""

    primitives = ("conv2d_input_gradient",)

    adjoint = Conv2d

    @staticmethod
    def reference(x: Value, weight: Value, bias: Value, *, size: Pair, geometry: Geometry) -> Value:
        """A convolution with the flipped kernel, of the image with stride - 1 zeros between its
        pixels: what a pixel was read by, it now writes to."""
        N, P, Q, channels = x.shape
        kh, kw, width = weight.shape[1:]
        (sh, sw), (top, left), groups = geometry.stride, geometry.padding, geometry.groups
        wide = ops.reshape(x, (N, P, 1, Q, 1, channels))
        wide = ops.pad(wide, ((0, 0), (0, 0), (0, sh - 1), (0, 0), (0, sw - 1), (0, 0)))
        wide = ops.reshape(wide, (N, P * sh, Q * sw, channels))
        high, broad = (n - 1 for n in geometry.reach((kh, kw)))
        wide = ops.pad(wide, ((0, 0), (high, top + size[0]), (broad, left + size[1]), (0, 0)))
        wide = wide[:, top : top + size[0] + high, left : left + size[1] + broad]
        flipped = ops.flip(_grouped(weight, 0, groups), (2, 3))  # (groups, O/groups, kh, kw, width)
        flipped = ops.reshape(
            ops.permute_dims(flipped, (0, 4, 2, 3, 1)), (groups * width, kh, kw, channels // groups)
        )
        adjoint = Geometry(dilation=geometry.dilation, groups=groups)
        return Conv2d.reference(wide, flipped, bias, size=size, geometry=adjoint)

    def run(self, x: Array, weight: Array, bias: Array, size: Pair, geometry: Geometry) -> Array:
        return self.backend.conv2d_input_gradient(x, weight, bias, size, geometry)

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 2 * arrays[0].size * prod(arrays[1].shape[1:])


Conv2d.adjoint = ConvTranspose2d


class Conv2dWeightGradient(Function):
    """y = dT/dw;  dx = ConvTranspose2d(g, h),  dg = Conv2d(x, h), with h the gradient of y."""

    primitives = ("conv2d_weight_gradient",)

    @staticmethod
    def reference(x: Value, g: Value, *, size: Pair, geometry: Geometry) -> Value:
        """For each tap the image shifted by it, times the gradient, summed over all positions."""
        grads = _grouped(g, 3, geometry.groups)  # (N, P, Q, groups, O/groups)
        taps = [
            ops.einsum("npqgo,npqgc->goc", grads, window)
            for _, _, window in _windows(x, size, g.shape[1:3], geometry)
        ]
        channels = x.shape[3] // geometry.groups
        y = ops.stack([ops.reshape(tap, (g.shape[3], channels)) for tap in taps], axis=1)
        return ops.reshape(y, (g.shape[3], *size, channels))

    def forward(self, x: Array, g: Array, *, size: Pair, geometry: Geometry) -> Array:
        if self.needs:
            needs_x, needs_g = self.needs
            self.save(**({"g": g} if needs_x else {}), **({"x": x} if needs_g else {}))
            self.sides, self.sides_of_g = x.shape[1:3], g.shape[1:3]
        return self.backend.conv2d_weight_gradient(x, g, size, geometry)

    def backward(self, h: Value) -> tuple[Value, Value]:
        needs_x, needs_g = self.needs
        geometry, saved = self.params["geometry"], self.saved
        dx = dg = None
        if needs_x:
            dx = ConvTranspose2d.apply(saved.g, h, None, size=self.sides, geometry=geometry)
        if needs_g:
            dg = Conv2d.apply(saved.x, h, None, size=self.sides_of_g, geometry=geometry)
        return dx, dg

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 2 * arrays[1].size * prod(outputs[0].shape[1:])


# ---- what users call -----------------------------------------------------------------------------


def conv2d(
    x: Value,
    weight: Value,
    bias: Value = None,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Any:
    """Cross-correlation of each image with every kernel, plus the kernel's bias.

    x (N, H, W, C), weight (O, kH, kW, C/groups), bias (O,) -> (N, H', W', O), of one float dtype,
    with  H' = floor((H + 2 padding - dilation (kH - 1) - 1) / stride) + 1  and W' alike. Each
    option is one number or a pair for rows and columns; the padding is zeros. Output channels of a
    group, O/groups of them in a row, see only the C/groups input channels of that group.
    """
    same_float_dtype("conv2d", {"bias": bias}, x=x, weight=weight)
    geometry = _geometry("conv2d", stride, padding, dilation, groups)
    _check_operands("conv2d", x, weight, geometry)
    if x.shape[3] != weight.shape[3] * groups:
        raise ShapeError(
            f"conv2d: x has {x.shape[3]} channels, but weight {weight.shape} with groups={groups} "
            f"takes {weight.shape[3] * groups}; weight is (out, height, width, in / groups)."
        )
    _check_bias("conv2d", bias, weight.shape[0])
    sides, kernel = x.shape[1:3], weight.shape[1:3]
    size = geometry.sides_after(sides, kernel)
    if min(size) < 1:
        raise ShapeError(
            f"conv2d: a kernel of {kernel} with dilation {geometry.dilation} does not fit into an "
            f"image of {sides} with padding {geometry.padding}. Use a larger image or more padding."
        )
    return Conv2d.apply(x, weight, bias, size=size, geometry=geometry)


def conv_transpose2d(
    x: Value,
    weight: Value,
    bias: Value = None,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    output_padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Any:
    """The adjoint of `conv2d` with the same weight and options: <conv2d(y), x> = <y, this of x>.

    x (N, H, W, C), weight (C, kH, kW, O/groups), bias (O,) -> (N, H', W', O), of one float dtype,
    with  H' = (H - 1) stride - 2 padding + dilation (kH - 1) + output_padding + 1  and W' alike.
    Of the several sizes that `conv2d` would bring to H, `output_padding` (smaller than stride or
    dilation) chooses a larger one.
    """
    op = "conv_transpose2d"
    same_float_dtype(op, {"bias": bias}, x=x, weight=weight)
    geometry = _geometry(op, stride, padding, dilation, groups)
    extra = pair(op, "output_padding", output_padding, least=0)
    _check_operands(op, x, weight, geometry)
    if x.shape[3] != weight.shape[0]:
        raise ShapeError(
            f"{op}: x has {x.shape[3]} channels, but weight {weight.shape} takes "
            f"{weight.shape[0]}; weight is (in, height, width, out / groups)."
        )
    _check_bias(op, bias, weight.shape[3] * groups)
    for more, s, d in zip(extra, geometry.stride, geometry.dilation, strict=True):
        if more >= max(s, d):
            raise UsageError(
                f"{op}: output_padding {extra} must be smaller than the stride {geometry.stride} "
                f"or the dilation {geometry.dilation}."
            )
    sides, kernel = x.shape[1:3], weight.shape[1:3]
    least = geometry.sides_before(sides, kernel)
    size = least[0] + extra[0], least[1] + extra[1]
    if min(size) < 1 or min(sides) < 1:
        raise ShapeError(
            f"{op}: an image of {sides} with a kernel of {kernel} and padding {geometry.padding} "
            f"leaves an output of {size}. Use a larger image or less padding."
        )
    return ConvTranspose2d.apply(x, weight, bias, size=size, geometry=geometry)


def conv1d(
    x: Value,
    weight: Value,
    bias: Value = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Any:
    """`conv2d` along the one axis of sequences: x (N, L, C), weight (O, k, C/groups) ->
    (N, L', O), with  L' = floor((L + 2 padding - dilation (k - 1) - 1) / stride) + 1."""
    same_float_dtype("conv1d", {"bias": bias}, x=x, weight=weight)
    for name, value in (("x", x), ("weight", weight)):
        if value is None:
            raise DtypeError(f"conv1d: {name} is None; only the bias may be left out.")
        if value.ndim != 3:
            raise ShapeError(
                f"conv1d: {name} has shape {value.shape}; x is (batch, length, channels), weight "
                "(out, length, in / groups)."
            )
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    for name, option in options.items():
        integer(f"conv1d: {name}", option, least=0 if name == "padding" else 1)
    y = conv2d(
        ops.expand_dims(x, 1),
        ops.expand_dims(weight, 1),
        bias,
        stride=(1, stride),
        padding=(0, padding),
        dilation=(1, dilation),
        groups=groups,
    )
    return ops.squeeze(y, 1)


# ---- parts of the references ---------------------------------------------------------------------


def _windows(
    x: Value, kernel: Pair, size: Pair, geometry: Geometry
) -> Iterator[tuple[int, int, Value]]:
    """Every tap (i, j) with what it reads at each output position (N, *size, groups, C/groups)."""
    (sh, sw), (top, left), (dh, dw), groups = geometry
    padded = ops.pad(x, ((0, 0), (top, top), (left, left), (0, 0)))
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            rows = slice(i * dh, i * dh + (size[0] - 1) * sh + 1, sh)
            columns = slice(j * dw, j * dw + (size[1] - 1) * sw + 1, sw)
            yield i, j, _grouped(padded[:, rows, columns], 3, groups)


def _grouped(x: Value, axis: int, groups: int) -> Value:
    """The channels on `axis` as two axes, (groups, channels of a group)."""
    shape = (*x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :])
    return ops.reshape(x, shape)


def _channel_sums(g: Value) -> Value:
    """The sum over all positions, as a product with ones: several times faster than a sum."""
    if 0 in g.shape:
        return ops.sum(g, axis=(0, 1, 2))
    rows = ops.reshape(g, (prod(g.shape[:3]), g.shape[3]))
    return ops.matmul(ops.ones_like(rows[:, 0]), rows)


# ---- checks --------------------------------------------------------------------------------------


def _geometry(
    op: str, stride: int | Pair, padding: int | Pair, dilation: int | Pair, groups: int
) -> Geometry:
    return Geometry(
        pair(op, "stride", stride, least=1),
        pair(op, "padding", padding, least=0),
        pair(op, "dilation", dilation, least=1),
        integer(f"{op}: groups", groups, least=1),
    )


def _check_operands(op: str, x: Value, weight: Value, geometry: Geometry) -> None:
    for name, value in (("x", x), ("weight", weight)):
        if value is None:
            raise DtypeError(f"{op}: {name} is None; only the bias may be left out.")
        if value.ndim != 4:
            raise ShapeError(
                f"{op}: {name} has shape {value.shape}; it has four axes, x (batch, height, "
                "width, channels) and weight (channels, height, width, channels)."
            )
    if 0 in weight.shape[1:3]:
        raise ShapeError(f"{op}: weight {weight.shape} has a kernel without elements.")
    if weight.shape[0] % geometry.groups:
        raise ShapeError(
            f"{op}: the {weight.shape[0]} channels on the first axis of weight cannot be cut into "
            f"{geometry.groups} groups of one size."
        )


def _check_bias(op: str, bias: Value, channels: int) -> None:
    if bias is not None and bias.shape != (channels,):
        raise ShapeError(f"{op}: bias has shape {bias.shape}, and the output {channels} channels.")
