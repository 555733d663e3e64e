"""Rearranging ops against NumPy, and their exact adjoints."""

from __future__ import annotations

import numpy as np
import pytest
from exact_laws import assert_linear, integers
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygen as tg
from tinygen import ops
from tinygen.errors import DtypeError, ShapeError

shapes = st.lists(st.integers(0, 3), max_size=4).map(tuple)
some_axes = st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple)
quick = settings(max_examples=20, deadline=None)


@quick
@given(shapes, st.randoms(use_true_random=False))
def test_reshape_squeeze_expand_and_permute(shape, random):
    x = integers(shape)
    axes = list(range(len(shape)))
    random.shuffle(axes)
    signed = [a - len(shape) * random.randint(0, 1) for a in axes]
    place = random.randint(-len(shape) - 1, len(shape))
    assert np.array_equal(ops.permute_dims(x, signed), x.transpose(axes))
    assert np.array_equal(ops.squeeze(x), x.squeeze())
    assert np.array_equal(ops.expand_dims(x, place), np.expand_dims(x, place))
    assert np.array_equal(ops.expand_dims(x, (0, -1)), np.expand_dims(x, (0, -1)))
    assert np.shares_memory(ops.expand_dims(x, place), x) or not x.size
    assert_linear(lambda x: ops.permute_dims(x, signed), shape)
    assert_linear(ops.squeeze, shape)
    assert_linear(lambda x: ops.expand_dims(x, place), shape)
    assert_linear(lambda x: ops.reshape(x, tuple(reversed(shape))), shape)
    if x.size:
        assert ops.reshape(x, -1).shape == (x.size,)
        assert_linear(lambda x: ops.reshape(x, (1, -1)), shape)


@quick
@given(shapes, st.randoms(use_true_random=False))
def test_broadcast_flip_roll_and_pad(shape, random):
    x = integers(shape)
    unit = tuple(n if random.random() < 0.5 else 1 for n in shape)
    axis = random.choice([None, tuple(range(0, len(shape), 2)) or None])
    shift = random.randint(-5, 5) if axis is None else tuple(random.randint(-5, 5) for _ in axis)
    widths = [(random.randint(0, 2), random.randint(0, 2)) for _ in shape]
    wide = (2, *shape)
    assert np.array_equal(
        ops.broadcast_to(integers(unit), wide), np.broadcast_to(integers(unit), wide)
    )
    assert np.array_equal(ops.flip(x, axis), np.flip(x, axis))
    assert np.array_equal(ops.roll(x, shift, axis), np.roll(x, shift, axis))
    assert np.array_equal(ops.pad(x, 2, 7.5), np.pad(x, 2, constant_values=7.5))
    assert_linear(lambda x: ops.broadcast_to(x, wide), unit)
    assert_linear(lambda x: ops.flip(x, axis), shape)
    assert_linear(lambda x: ops.roll(x, shift, axis), shape)
    if shape:
        assert np.array_equal(ops.pad(x, widths), np.pad(x, widths))
        assert_linear(lambda x: ops.pad(x, widths), shape)


@quick
@given(shapes, st.lists(st.integers(0, 3), max_size=5).map(tuple), st.data())
def test_tile_and_repeat(shape, counts, data):
    x = integers(shape)
    assert np.array_equal(ops.tile(x, counts), np.tile(x, counts))
    assert_linear(lambda x: ops.tile(x, counts), shape)
    times = data.draw(st.integers(0, 3))
    assert np.array_equal(ops.repeat(x, times), np.repeat(x, times))
    assert_linear(lambda x: ops.repeat(x, times), shape)
    if shape:
        axis = data.draw(st.integers(-len(shape), len(shape) - 1))
        n = shape[axis]
        each = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), dtype=int)
        assert np.array_equal(ops.repeat(x, each, axis), np.repeat(x, each, axis))
        assert_linear(lambda x: ops.repeat(x, times, axis), shape)
        assert_linear(lambda x: ops.repeat(x, each, axis), shape)


@quick
@given(some_axes, st.data())
def test_joining_and_cutting_undo_each_other(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    n = shape[axis]
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=3)))
    parts = ops.split(integers(shape), cuts, axis)
    for part, wanted in zip(parts, np.split(integers(shape), cuts, axis), strict=True):
        assert np.array_equal(part, wanted)
    assert np.array_equal(ops.concat(parts, axis), integers(shape))
    assert np.array_equal(ops.concat(parts, None), np.concatenate(parts, None))
    assert np.array_equal(ops.stack(ops.unstack(integers(shape), axis), axis), integers(shape))
    assert len(ops.split(integers(shape), n, axis)) == n
    assert_linear(lambda x: ops.split(x, cuts, axis), shape)
    assert_linear(lambda x: ops.unstack(x, axis), shape)
    assert_linear(lambda *xs: ops.concat(xs, axis), *[p.shape for p in parts])
    assert_linear(lambda *xs: ops.concat(xs, None), (2, 3), (), (4,))
    assert_linear(lambda a, b: ops.stack([a, b, a], axis), shape, shape)


def test_one_part_of_a_split_has_its_own_gradient():
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    ops.sum(ops.split(x, [1])[1]).backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0]


def test_mixed_arrays_and_tensors_are_promoted():
    y = ops.concat([np.array([1, 2]), tg.tensor([0.5], requires_grad=True)])
    assert y.dtype == np.result_type("int64", "float32")
    assert y.tolist() == [1.0, 2.0, 0.5]
    ops.sum(y).backward()
    assert ops.stack((np.float32([1]), np.float64([2]))).dtype == "float64"


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float32"])
def test_every_dtype_passes_unchanged(dtype):
    x = np.arange(6).reshape(2, 3).astype(dtype)
    for y in (
        ops.reshape(x, -1),
        ops.permute_dims(x, (1, 0)),
        ops.concat([x, x]),
        ops.stack([x, x]),
        ops.split(x, 3, 1)[0],
        ops.flip(x),
        ops.roll(x, 1),
        ops.pad(x, 1),
        ops.tile(x, 2),
        ops.repeat(x, 2),
        ops.broadcast_to(x, (2, 2, 3)),
    ):
        assert y.dtype == dtype


def test_views_watch_the_leaf_whose_memory_they_share():
    weight = tg.tensor(integers((2, 3)), requires_grad=True)
    loss = ops.sum(ops.square(ops.reshape(weight, -1)))
    weight.data += 1
    weight.version += 1  # as an optimiser step does
    with pytest.raises(tg.errors.GraphError, match="changed in place"):
        loss.backward()


x = np.zeros((2, 3))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: ops.reshape(x, (4, 2)), ShapeError),
        (lambda: ops.reshape(x, 2.5), DtypeError),
        (lambda: ops.reshape(3.0, (1,)), DtypeError),
        (lambda: ops.reshape([1.0], (1,)), DtypeError),
        (lambda: ops.permute_dims(x, (0, 0)), ShapeError),
        (lambda: ops.permute_dims(x, (0,)), ShapeError),
        (lambda: ops.permute_dims(x, None), DtypeError),
        (lambda: ops.matrix_transpose(x[0]), ShapeError),
        (lambda: ops.squeeze(x, 0), ShapeError),
        (lambda: ops.squeeze(x, 5), ShapeError),
        (lambda: ops.expand_dims(x, 4), ShapeError),
        (lambda: ops.expand_dims(x, (0, 0)), ShapeError),
        (lambda: ops.broadcast_to(x, (3, 3)), ShapeError),
        (lambda: ops.flip(x, 2), ShapeError),
        (lambda: ops.pad(x, -1), ShapeError),
        (lambda: ops.pad(x, ((1, 1),) * 3), ShapeError),
        (lambda: ops.pad(x.astype(int), 1, 0.5), DtypeError),
        (lambda: ops.pad(x.astype("int8"), 1, 300), DtypeError),
        (lambda: ops.repeat(x, -1, 0), ShapeError),
        (lambda: ops.repeat(x, np.array([1, 2, 3]), 0), ShapeError),
        (lambda: ops.repeat(x, 2, 2), ShapeError),
        (lambda: ops.repeat(x, 1.5, 0), DtypeError),
        (lambda: ops.repeat(None, np.array([1, 2]), 0), DtypeError),
        (lambda: ops.concat([]), ShapeError),
        (lambda: ops.concat([x, x[0]]), ShapeError),
        (lambda: ops.concat([x, x], 2), ShapeError),
        (lambda: ops.stack([x, x[:1]]), ShapeError),
        (lambda: ops.split(x, 2, 1), ShapeError),
        (lambda: ops.split(x, 0, 1), ShapeError),
        (lambda: ops.split(x, [2, 1], 1), ShapeError),
        (lambda: ops.split(x, [4], 1), ShapeError),
        (lambda: ops.split(x, "a", 1), ShapeError),
        (lambda: ops.unstack(x, 2), ShapeError),
    ],
)
def test_bad_calls_say_so(call, error):
    with pytest.raises(error):
        call()
