"""Reading and writing by position, against NumPy; sums at repeated places are exact."""

from __future__ import annotations

import math

import numpy as np
import pytest
from exact_laws import assert_linear, integers
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygen as tg
from tinygen import ops
from tinygen.errors import DtypeError, OutOfRangeError, ShapeError

quick = settings(max_examples=25, deadline=None)
some_axes = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


@st.composite
def indexed(draw):
    """A shape, and an index of it that mixes everything that NumPy lets one mix."""
    shape = draw(some_axes)
    common = draw(st.sampled_from([(), (1,), (3,), (2, 3), (0,)]))
    parts = []
    whole = draw(st.booleans())
    for n in shape if whole else shape[:-1]:
        kind = draw(st.sampled_from(["int", "slice", "array", "list", "tensor", "mask"]))
        if kind == "int":
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind == "slice":
            parts.append(draw(st.slices(n)))
        elif kind == "mask" and not any(
            isinstance(p, (np.ndarray, list, tg.Tensor)) for p in parts
        ):
            parts.append(draw(hnp.arrays(bool, n)))
            common = (int(parts[-1].sum()),)
        else:
            array = draw(hnp.arrays("int64", common, elements=st.integers(-n, n - 1)))
            parts.append({"list": array.tolist(), "tensor": tg.tensor(array)}.get(kind, array))
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))), None)
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, len(parts))) if whole else len(parts), ...)
    return shape, tuple(parts)


@settings(max_examples=60, deadline=None)
@given(indexed())
def test_getitem_reads_what_numpy_reads_and_its_gradient_is_the_adjoint(case):
    shape, index = case
    plain = tuple(p.numpy() if isinstance(p, tg.Tensor) else p for p in index)
    # An empty nested list has lost its integer dtype, in NumPy too.
    plain = tuple(np.asarray(p, int) if isinstance(p, list) else p for p in plain)
    x = integers(shape)
    y = ops.getitem(tg.tensor(x), index)
    assert np.array_equal(y.numpy(), x[plain])
    assert y.shape == x[plain].shape
    assert_linear(lambda x: ops.getitem(x, plain), shape)


@pytest.mark.parametrize(
    "index", [slice(None, None, -1), (..., None, 0), True, integers((3, 4)) > 0, 1, [2, 0, 2], []]
)
def test_getitem_without_a_tuple(index):
    x = integers((3, 4))
    assert np.array_equal(ops.getitem(x, index), x[index])
    assert_linear(lambda x: ops.getitem(x, index), (3, 4))


def test_a_tensor_in_the_index_makes_the_result_a_tensor():
    y = ops.getitem(np.arange(3.0), tg.tensor([2, 2]))
    assert isinstance(y, tg.Tensor)
    assert y.tolist() == [2.0, 2.0]
    assert tg.tensor([1, 2, 3])[tg.tensor(1)].item() == 2


def test_iteration_and_basic_views_share_memory():
    x = np.zeros((3, 4))
    assert np.shares_memory(ops.getitem(x, (slice(None), 1)), x)
    leaf = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    first, second = leaf
    (first[0] * second[1]).backward()
    assert leaf.grad.tolist() == [[4.0, 0.0], [0.0, 1.0]]


@quick
@given(some_axes, st.data())
def test_take_and_take_along_axis(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    n = shape[axis]
    elements = st.integers(-n, n - 1)
    indices = data.draw(
        hnp.arrays("int32", hnp.array_shapes(max_dims=2, max_side=4), elements=elements)
    )
    assert np.array_equal(
        ops.take(integers(shape), indices, axis), integers(shape).take(indices, axis)
    )
    assert_linear(lambda x: ops.take(x, indices, axis), shape)
    assert_linear(lambda x: ops.take(x, n - 1, axis), shape)
    lines = [1 if data.draw(st.booleans()) else m for m in shape]
    lines[axis] = data.draw(st.integers(0, 5))
    own = data.draw(hnp.arrays("int64", tuple(lines), elements=elements))
    x = integers(shape)
    assert np.array_equal(ops.take_along_axis(x, own, axis), np.take_along_axis(x, own, axis))
    assert_linear(lambda x: ops.take_along_axis(x, own, axis), shape)


@quick
@given(some_axes, st.data())
def test_scatter_add_sums_every_update_exactly(shape, data):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    n, lines = shape[axis], list(shape)
    lines[axis] = data.draw(st.integers(0, 6))
    indices = data.draw(hnp.arrays("int64", tuple(lines), elements=st.integers(-n, n - 1)))
    x, updates = integers(shape, 1), integers(lines, 2)
    kept = x.copy()
    wanted = x.copy()
    for place in np.ndindex(*lines):
        target = list(place)
        target[axis] = indices[place]
        wanted[tuple(target)] += updates[place]
    for dtype in ("float32", "float64", "int16"):
        y = ops.scatter_add(x.astype(dtype), indices, updates.astype(dtype), axis)
        assert y.dtype == dtype
        assert np.array_equal(y, wanted)
    assert np.array_equal(x, kept)
    assert_linear(lambda x, u: ops.scatter_add(x, indices, u, axis), shape, tuple(lines))


def test_scatter_add_promotes():
    y = ops.scatter_add(np.zeros(2, int), np.array([1, 1]), np.array([0.5, 0.25]))
    assert y.tolist() == [0.0, 0.75]


values = st.one_of(st.integers(-3, 3).map(float), st.just(math.nan), st.just(-0.0))


@settings(max_examples=60, deadline=None)
@given(hnp.arrays("float32", hnp.array_shapes(max_dims=2, max_side=6), elements=values), st.data())
def test_sort_argsort_and_topk_are_stable_and_count_nan_as_largest(x, data):
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    n = x.shape[axis]
    k = data.draw(st.integers(0, n))
    key = np.where(np.isnan(x), np.inf, x)
    up = np.argsort(key, axis, stable=True)
    down = np.argsort(-key, axis, stable=True)
    assert np.array_equal(ops.argsort(x, axis), up)
    assert np.array_equal(ops.argsort(x, axis, descending=True), down)
    for descending, order in ((False, up), (True, down)):
        wanted = np.take_along_axis(x, order, axis)
        for y in (
            ops.sort(x, axis, descending),
            ops.sort(tg.tensor(x, requires_grad=True), axis, descending).numpy(),
        ):
            assert np.array_equal(y, wanted, equal_nan=True)
    top, indices = ops.topk(x, k, axis)
    assert np.array_equal(indices, down.take(range(k), axis))
    assert np.array_equal(top, np.take_along_axis(x, indices, axis), equal_nan=True)


@pytest.mark.parametrize("nans", [0, 3, 400])
def test_topk_of_long_rows_agrees_with_the_sort(nans):
    x = integers((3, 2000)).astype("float32")  # nine values: ties everywhere
    x[:, 5 : 5 + 4 * nans : 4] = math.nan
    wanted = ops.argsort(x, descending=True)
    for k in (1, 7, 300, 499, 2000):
        assert np.array_equal(ops.topk(x, k)[1], wanted[:, :k])
    assert np.array_equal(
        ops.topk(integers((1500,)).astype(int), 3)[1], ops.argsort(-integers((1500,)))[:3]
    )


def test_gradients_of_sort_and_topk_return_to_where_the_elements_came_from():
    x = tg.tensor([[3.0, 1.0, 2.0], [5.0, 5.0, 4.0]], requires_grad=True)
    weights = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], "float32")
    (dx,) = tg.grad(ops.sum(weights * ops.square(ops.sort(x))), x, create_graph=True)
    assert dx.tolist() == [[18.0, 2.0, 8.0], [50.0, 60.0, 32.0]]
    assert tg.grad(ops.sum(dx), x)[0].tolist() == [[6.0, 2.0, 4.0], [10.0, 12.0, 8.0]]
    top, indices = ops.topk(x, 2)
    assert indices.tolist() == [[0, 2], [0, 1]]
    assert not indices.requires_grad
    ops.sum(weights[:, :2] * top).backward()
    assert x.grad.tolist() == [[1.0, 0.0, 2.0], [4.0, 5.0, 0.0]]


@quick
@given(hnp.array_shapes(min_dims=0, max_dims=3, max_side=4), st.integers(1, 5), st.data())
def test_embedding_and_one_hot(shape, rows, data):
    ids = data.draw(hnp.arrays("int64", shape, elements=st.integers(0, rows - 1)))
    table = integers((rows, 3))
    assert np.array_equal(ops.embedding(ids, table), table[ids])
    assert_linear(lambda w: ops.embedding(ids, w), (rows, 3))
    hot = ops.one_hot(ids, rows, dtype="float64")
    assert hot.shape == (*shape, rows)
    assert np.array_equal(hot @ table, table[ids])


def test_a_large_embedding_with_every_id_twice_is_exact():
    ids = np.concatenate([np.arange(1000), np.arange(1000)[::-1]])
    weight = tg.tensor(np.zeros((1000, 5), "float32"), requires_grad=True)
    ops.sum(ops.embedding(ids, weight)).backward()
    assert np.array_equal(weight.grad.numpy(), np.full((1000, 5), 2.0))


x = np.zeros((2, 3))
i = np.array([0, 1])


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: ops.getitem(x, 2), OutOfRangeError),
        (lambda: ops.getitem(x, (0, 0, 0)), OutOfRangeError),
        (lambda: ops.getitem(x, np.array([0, 5])), OutOfRangeError),
        (lambda: ops.getitem(x, 1.0), DtypeError),
        (lambda: ops.getitem(x, "a"), DtypeError),
        (lambda: ops.getitem(x, np.array([0.5])), DtypeError),
        (lambda: tg.tensor(x)[tg.tensor([1.0])], DtypeError),
        (lambda: ops.take(x, np.array([3]), 1), OutOfRangeError),
        (lambda: ops.take(x, i, 2), ShapeError),
        (lambda: ops.take(x, np.array([True, False]), 0), DtypeError),
        (lambda: ops.take([1.0], i, 0), DtypeError),
        (lambda: ops.take(x, [0, 1], 0), DtypeError),
        (lambda: ops.take_along_axis(x, np.array([[4]]), 1), OutOfRangeError),
        (lambda: ops.take_along_axis(x, i, 1), ShapeError),
        (lambda: ops.take_along_axis(x, np.zeros((3, 1), int), 1), ShapeError),
        (lambda: ops.take_along_axis(x, x, 1), DtypeError),
        (lambda: ops.take_along_axis(3.0, i, 0), DtypeError),
        (lambda: ops.scatter_add(x, np.array([[0], [3]]), x[:, :1], 1), OutOfRangeError),
        (lambda: ops.scatter_add(x, np.array([[0, 1]]), np.ones((1, 2)), 1), ShapeError),
        (lambda: ops.scatter_add(x, np.array([[0], [1]]), x, 1), ShapeError),
        (lambda: ops.scatter_add(x, np.array([[0], [1]]), 1.0, 1), DtypeError),
        (lambda: ops.scatter_add(x, x, x, 1), DtypeError),
        (lambda: ops.sort(x, 2), ShapeError),
        (lambda: ops.argsort(np.zeros(()), 0), ShapeError),
        (lambda: ops.topk(x, 4), ShapeError),
        (lambda: ops.topk(x, -1), ShapeError),
        (lambda: ops.topk(x, 1.5), DtypeError),
        (lambda: ops.embedding(np.array([0, 2]), x), OutOfRangeError),
        (lambda: ops.embedding(np.array([0, -1]), x), OutOfRangeError),
        (lambda: ops.embedding(np.array([0.0]), x), DtypeError),
        (lambda: ops.embedding([0, 1], x), DtypeError),
        (lambda: ops.embedding(i, x[0]), ShapeError),
        (lambda: ops.one_hot(i, 1), OutOfRangeError),
        (lambda: ops.one_hot(x, 3), DtypeError),
        (lambda: ops.one_hot(2, 3), DtypeError),
    ],
)
def test_bad_calls_say_so(call, error):
    with pytest.raises(error):
        call()


def test_a_bad_id_is_named_with_the_number_of_rows():
    with pytest.raises(OutOfRangeError, match=r"id 7 .* 2 rows"):
        ops.embedding(np.array([[0, 7]]), x)
