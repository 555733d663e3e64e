"""Convolution: its laws, exactly on small integers, and its derivatives of every order."""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np
import pytest
from exact_laws import assert_multilinear, dot, integers
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tinygen as tg
from tinygen import ops
from tinygen.backend.geometry import Geometry
from tinygen.ops.convolution import Conv2d, Conv2dWeightGradient, ConvTranspose2d
from tinygen.testing.applying import nodes_of

quick = settings(max_examples=40, deadline=None)


class Case(NamedTuple):
    """The shapes of an image and a weight, and the options of conv2d."""

    x: tuple[int, ...]
    weight: tuple[int, ...]
    options: dict[str, Any]

    @property
    def geometry(self) -> Geometry:
        o = self.options
        return Geometry(o["stride"], o["padding"], o["dilation"], o["groups"])

    @property
    def size(self) -> tuple[int, int]:
        return self.geometry.sides_after(self.x[1:3], self.weight[1:3])

    @property
    def y(self) -> tuple[int, ...]:
        return (self.x[0], *self.size, self.weight[0])


@st.composite
def cases(draw: Any, largest_stride: int = 3, groups: int = 3) -> Case:
    pair = lambda low, high: st.tuples(*[st.integers(low, high)] * 2)  # noqa: E731
    groups = draw(st.integers(1, groups))
    width, outputs = draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    options = {
        "stride": draw(pair(1, largest_stride)),
        "padding": draw(pair(0, 3)),
        "dilation": draw(pair(1, 2)),
        "groups": groups,
    }
    x = (draw(st.integers(0, 2)), *draw(pair(1, 8)), groups * width)
    case = Case(x, (outputs, *draw(pair(1, 4)), width), options)
    assume(min(case.size) >= 1)
    return case


def transposed(g: Any, weight: Any, case: Case) -> Any:
    """conv_transpose2d to the size of the case's image."""
    least = case.geometry.sides_before(case.size, case.weight[1:3])
    extra = tuple(n - m for n, m in zip(case.x[1:3], least, strict=True))
    return ops.conv_transpose2d(g, weight, output_padding=extra, **case.options)


# ---- the three and their references --------------------------------------------------------------


@quick
@given(cases())
def test_each_of_the_three_is_its_reference(case: Case) -> None:
    x, weight, g = integers(case.x), integers(case.weight), integers(case.y)
    for function, arrays, size in (
        (Conv2d, (x, weight, integers(case.weight[:1])), case.size),
        (ConvTranspose2d, (g, weight, integers(case.x[3:])), case.x[1:3]),
        (Conv2dWeightGradient, (x, g), case.weight[1:3]),
    ):
        options = {"size": size, "geometry": case.geometry}
        found = function.apply(*arrays, **options)
        assert np.array_equal(found, function.reference(*arrays, **options))


@quick
@given(cases())
def test_the_three_are_derivatives_of_one_trilinear_form(case: Case) -> None:
    """<conv(x, w), g> = <x, conv_transpose(g, w)> = <w, weight gradient(x, g)>."""
    x, weight, g = integers(case.x), integers(case.weight), integers(case.y)
    form = dot([ops.conv2d(x, weight, **case.options)], [g])
    assert dot([x], [transposed(g, weight, case)]) == form
    dweight = Conv2dWeightGradient.apply(x, g, size=case.weight[1:3], geometry=case.geometry)
    assert dot([weight], [dweight]) == form


@settings(max_examples=15, deadline=None)
@given(cases())
def test_first_and_second_order_are_exact(case: Case) -> None:
    assert_multilinear(lambda x, w: ops.conv2d(x, w, **case.options), case.x, case.weight)
    assert_multilinear(lambda g, w: transposed(g, w, case), case.y, case.weight)


@settings(max_examples=15, deadline=None)
@given(cases())
def test_third_order_is_exact(case: Case) -> None:
    """Of sum y^3 along u1 in x, u2 in w and u3 in x, where y = conv(x, w) is bilinear:
    6 y_x y_w y_u + 6 y (y_xw y_u + y_uw y_x), with y_x = conv(u1, w) and so on."""

    def conv(x: Any, w: Any) -> Any:
        return ops.conv2d(x, w, **case.options)

    x, u1, u3 = (integers(case.x, seed) for seed in (1, 2, 3))
    w, u2 = (integers(case.weight, seed) for seed in (4, 5))
    tx, tw = (tg.tensor(a, requires_grad=True) for a in (x, w))
    y = conv(tx, tw)
    (first,) = tg.grad(ops.sum(y * y * y), tx, create_graph=True)
    (second,) = tg.grad(ops.sum(first * u1), tw, create_graph=True)
    (third,) = tg.grad(ops.sum(second * u2), tx)
    terms = conv(u1, w) * conv(x, u2) * conv(u3, w)
    terms = terms + conv(x, w) * (conv(u1, u2) * conv(u3, w) + conv(u3, u2) * conv(u1, w))
    assert dot([third.numpy()], [u3]) == 6 * terms.sum()


def test_higher_orders_stay_among_the_three() -> None:
    """A gradient penalty runs no reference: its graph holds convolutions and little else."""
    x = tg.tensor(integers((2, 6, 6, 2)), requires_grad=True)
    weight = tg.tensor(integers((3, 3, 3, 2)), requires_grad=True)
    y = ops.conv2d(x, weight, stride=2, padding=1)
    (gradient,) = tg.grad(ops.sum(y * y), x, create_graph=True)
    names = [type(node).__name__ for node in nodes_of([ops.sum(gradient * gradient)])]
    assert names.count("Conv2d") == names.count("ConvTranspose2d") == 1
    assert not {"Einsum", "Pad", "GetItem"} & set(names)


@pytest.mark.parametrize(("dilation", "extra"), [(2, 1), (3, 2)])
def test_an_output_padding_beyond_the_stride_is_differentiated(dilation: int, extra: int) -> None:
    """Then the output is larger than any image that conv2d takes to the input's size."""
    assert_multilinear(
        lambda x, w: ops.conv_transpose2d(
            x, w, padding=1, dilation=dilation, output_padding=(extra, 0)
        ),
        (2, 3, 4, 2),
        (2, 2, 3, 1),
    )


# ---- laws ----------------------------------------------------------------------------------------


@quick
@given(cases())
def test_groups_are_convolutions_side_by_side(case: Case) -> None:
    x, weight, bias = integers(case.x), integers(case.weight), integers(case.weight[:1])
    groups = case.options["groups"]
    options = {**case.options, "groups": 1}
    parts = zip(
        *(np.split(a, groups, axis) for a, axis in ((x, 3), (weight, 0), (bias, 0))), strict=True
    )
    apart = np.concatenate([ops.conv2d(*part, **options) for part in parts], 3)
    assert np.array_equal(ops.conv2d(x, weight, bias, **case.options), apart)


@quick
@given(cases())
def test_dilation_puts_zeros_into_the_kernel(case: Case) -> None:
    x, weight = integers(case.x), integers(case.weight)
    high, wide = case.geometry.reach(case.weight[1:3])
    stuffed = np.zeros((len(weight), high, wide, weight.shape[3]))
    stuffed[:, :: case.options["dilation"][0], :: case.options["dilation"][1]] = weight
    dense = ops.conv2d(x, stuffed, **{**case.options, "dilation": 1})
    assert np.array_equal(ops.conv2d(x, weight, **case.options), dense)


@quick
@given(cases())
def test_a_stride_leaves_positions_out(case: Case) -> None:
    x, weight = integers(case.x), integers(case.weight)
    dense = ops.conv2d(x, weight, **{**case.options, "stride": 1})
    (sh, sw) = case.options["stride"]
    assert np.array_equal(ops.conv2d(x, weight, **case.options), dense[:, ::sh, ::sw])


@quick
@given(cases())
def test_padding_is_zeros_around_the_image(case: Case) -> None:
    x, weight = integers(case.x), integers(case.weight)
    (top, left) = case.options["padding"]
    padded = np.pad(x, ((0, 0), (top, top), (left, left), (0, 0)))
    bare = ops.conv2d(padded, weight, **{**case.options, "padding": 0})
    assert np.array_equal(ops.conv2d(x, weight, **case.options), bare)


@quick
@given(cases(), st.integers(0, 2), st.integers(0, 2))
def test_a_shifted_image_gives_a_shifted_output(case: Case, down: int, right: int) -> None:
    """By `stride` times as much, where the image lies well inside of zeros."""
    x, weight = integers(case.x), integers(case.weight)
    (sh, sw) = case.options["stride"]
    room = [(0, 0), *((n * s, 2 * s) for n, s in ((down, sh), (right, sw))), (0, 0)]
    still = [(0, 0), (0, (down + 2) * sh), (0, (right + 2) * sw), (0, 0)]
    (high, wide) = case.geometry.reach(case.weight[1:3])
    options = {**case.options, "padding": (high * sh, wide * sw)}  # whole strides, whole kernels
    moved = ops.conv2d(np.pad(x, room), weight, **options)
    fixed = ops.conv2d(np.pad(x, still), weight, **options)
    rows, columns = fixed.shape[1] - down, fixed.shape[2] - right
    assert np.array_equal(moved[:, down:, right:], fixed[:, :rows, :columns])
    assert not moved[:, :down].any()


@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (0, 2, 2, 3), (1, 1, 1, 3)])
def test_a_kernel_of_one_is_linear(shape: tuple[int, ...]) -> None:
    x, weight, bias = integers(shape), integers((5, 1, 1, 3)), integers((5,))
    found = ops.conv2d(x, weight, bias)
    assert np.array_equal(found, ops.linear(x, weight[:, 0, 0], bias))
    assert_multilinear(ops.conv2d, shape, (5, 1, 1, 3))
    assert_multilinear(ops.conv_transpose2d, shape, (3, 1, 1, 2))


@quick
@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 3))
def test_conv1d_is_numpys_correlation(length: int, k: int, padding: int) -> None:
    assume(length + 2 * padding >= k)
    x, weight = integers((1, length, 1)), integers((1, k, 1))
    wanted = np.correlate(np.pad(x[0, :, 0], padding), weight[0, :, 0], "valid")
    assert np.array_equal(ops.conv1d(x, weight, padding=padding)[0, :, 0], wanted)


@quick
@given(cases())
def test_conv1d_is_conv2d_of_one_row(case: Case) -> None:
    (n, _, length, channels), (outputs, _, k, width) = case.x, case.weight
    options = {name: case.options[name][1] for name in ("stride", "padding", "dilation")}
    groups = case.options["groups"]
    x, weight, bias = (
        integers((n, length, channels)),
        integers((outputs, k, width)),
        integers((outputs,)),
    )
    pairs = {name: ((0 if name == "padding" else 1), value) for name, value in options.items()}
    rows = ops.conv2d(x[:, None], weight[:, None], bias, groups=groups, **pairs)
    found = ops.conv1d(x, weight, bias, groups=groups, **options)
    assert np.array_equal(found, rows[:, 0])


def test_one_pixel_writes_the_kernel() -> None:
    x = np.zeros((1, 3, 3, 1))
    x[0, 1, 1] = 1
    weight = integers((1, 3, 3, 2))
    y = ops.conv_transpose2d(x, weight, stride=2, padding=1)
    assert np.array_equal(y[0, 1:4, 1:4], weight[0])
    assert np.abs(y).sum() == np.abs(weight).sum()


# ---- edges ---------------------------------------------------------------------------------------


def test_no_channels_leave_the_bias() -> None:
    x, weight, bias = np.zeros((2, 4, 4, 0)), np.zeros((3, 3, 3, 0)), integers((3,))
    assert np.array_equal(ops.conv2d(x, weight, bias), np.broadcast_to(bias, (2, 2, 2, 3)))
    assert ops.conv2d(np.ones((1, 4, 4, 2)), np.ones((0, 3, 3, 2))).shape == (1, 2, 2, 0)


@pytest.mark.parametrize("shape", [(0, 4, 4, 2), (2, 4, 4, 0), (2, 4, 4, 2)])
@pytest.mark.parametrize("outputs", [0, 3])
def test_gradients_of_nothing_are_zeros_of_the_right_shape(
    shape: tuple[int, ...], outputs: int
) -> None:
    arrays = integers(shape), integers((outputs, 3, 3, shape[3])), integers((outputs,))
    leaves = [tg.tensor(a, requires_grad=True) for a in arrays]
    y = ops.conv2d(*leaves)
    y.backward(tg.tensor(integers(y.shape)))
    assert [leaf.grad.shape for leaf in leaves] == [a.shape for a in arrays]
    if y.size == 0:
        assert not any(leaf.grad.numpy().any() for leaf in leaves)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_have_the_dtype_and_the_bias_gathers_every_position(dtype: str) -> None:
    x, weight = integers((2, 5, 5, 2)).astype(dtype), integers((3, 3, 3, 2)).astype(dtype)
    leaves = [tg.tensor(a, requires_grad=True) for a in (x, weight, integers((3,)).astype(dtype))]
    y = ops.conv2d(*leaves, padding=1)
    g = integers(y.shape).astype(dtype)
    y.backward(tg.tensor(g))
    assert all(leaf.grad.dtype == dtype for leaf in leaves)
    assert np.array_equal(leaves[2].grad.numpy(), g.sum((0, 1, 2)))


@quick
@given(cases())
def test_flops_are_two_for_each_product(case: Case) -> None:
    """Counted on ones: as many products as the outputs sum up, padding included."""
    x, weight, g = np.ones(case.x), np.ones(case.weight), np.ones(case.y)
    products = prod(case.y) * prod(case.weight[1:])
    y = ops.conv2d(tg.tensor(x, requires_grad=True), weight, **case.options)
    assert y.node.flops([x, weight, None], [y.data]) == 2 * products
    back = transposed(tg.tensor(g, requires_grad=True), weight, case)
    assert back.node.flops([g, weight, None], [back.data]) == 2 * products
    node = Conv2dWeightGradient()
    assert node.flops([x, g], [weight]) == 2 * products
