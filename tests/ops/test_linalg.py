"""Matrix products and einsum against NumPy, with `==`: on small integers they are exact."""

from __future__ import annotations

import numpy as np
import pytest
from exact_laws import assert_linear, assert_multilinear, integers
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygen as tg
from tinygen import ops
from tinygen.errors import DtypeError, ShapeError

quick = settings(max_examples=30, deadline=None)
MATMUL = hnp.mutually_broadcastable_shapes(
    signature=np.matmul.signature, max_dims=2, min_side=0, max_side=4
)


@quick
@given(MATMUL)
def test_matmul(case):
    a, b = case.input_shapes
    assert np.array_equal(ops.matmul(integers(a), integers(b)), integers(a) @ integers(b))
    assert_multilinear(ops.matmul, a, b)


@pytest.mark.parametrize("a", [(3,), (2, 3), (4, 2, 3), (1, 4, 2, 3)])
@pytest.mark.parametrize("b", [(3,), (3, 5), (4, 3, 5), (2, 1, 3, 5)])
def test_matmul_of_vectors_matrices_and_batches(a, b):
    assert np.array_equal(ops.matmul(integers(a), integers(b)), integers(a) @ integers(b))
    assert_multilinear(ops.matmul, a, b)


def test_matmul_of_a_matrix_with_itself_counts_both_places():
    a = tg.tensor(integers((3, 3)), requires_grad=True)
    ops.sum(a @ a).backward()
    ones = np.ones((3, 3))
    assert np.array_equal(a.grad.numpy(), ones @ a.numpy().T + a.numpy().T @ ones)


def test_matmul_promotes_and_keeps_integers():
    assert ops.matmul(np.ones((2, 2), "float32"), np.ones((2, 2))).dtype == "float64"
    assert ops.matmul(np.ones((2, 2), int), np.ones((2, 2), int)).dtype == int
    y = np.ones((2, 3), "float32") @ tg.tensor(np.ones((3, 2)), requires_grad=True)
    assert isinstance(y, tg.Tensor)
    assert y.dtype == "float64"


def test_only_the_needed_operand_is_kept():
    x = tg.tensor(integers((2, 3)))
    weight = tg.tensor(integers((3, 4)), requires_grad=True)
    node = ops.matmul(x, weight).node
    assert vars(node.saved).keys() == {"a"}
    assert node.flops([x.data, weight.data], [np.empty((2, 4))]) == 2 * 2 * 3 * 4


@st.composite
def contraction(draw):
    """Subscripts, and the shapes of their operands."""
    sizes = {s: draw(st.integers(0 if s == "d" else 1, 3)) for s in "abcd"}
    lead = draw(st.lists(st.integers(1, 3), max_size=2))
    terms, shapes, dotted = [], [], False
    for _ in range(draw(st.integers(1, 3))):
        letters = draw(st.text("abcd", max_size=3))
        shape = tuple(sizes[s] for s in letters)
        if draw(st.booleans()):
            own = lead[draw(st.integers(0, len(lead))) :]
            shape = tuple(draw(st.sampled_from([1, n])) for n in own) + shape
            letters, dotted = "..." + letters, True
        terms.append(letters)
        shapes.append(shape)
    subscripts = ",".join(terms)
    if draw(st.booleans()):
        known = sorted(set("".join(terms)) - {"."})
        result = draw(st.permutations(known))[: draw(st.integers(0, len(known)))]
        subscripts += "->" + ("..." if dotted else "") + "".join(result)
    return subscripts, shapes


@settings(max_examples=80, deadline=None)
@given(contraction())
def test_einsum_is_numpys(case):
    subscripts, shapes = case
    operands = [integers(s, k) for k, s in enumerate(shapes)]
    y = ops.einsum(subscripts, *operands)
    wanted = np.einsum(subscripts, *operands)
    assert y.shape == wanted.shape
    assert np.array_equal(y, wanted)


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("bhqd,bhkd->bhqk", [(2, 2, 3, 2), (2, 2, 4, 2)]),
        ("...ij,...jk", [(2, 1, 2, 3), (3, 3, 2)]),
        ("iij,j->i", [(2, 2, 3), (3,)]),
        ("i,j,ijk->k", [(2,), (3,), (2, 3, 2)]),
        ("ij,ij->", [(2, 3), (2, 3)]),
        (" a b , b -> a ", [(2, 3), (3,)]),
        ("ii", [(3, 3)]),
        ("i,->i", [(3,), ()]),
    ],
)
def test_einsum_is_differentiable_twice(subscripts, shapes):
    def product(*xs):
        return ops.einsum(subscripts, *xs)

    xs = [integers(s) for s in shapes]
    assert np.array_equal(product(*xs), np.einsum(subscripts, *xs))
    assert_multilinear(product, *shapes)


@quick
@given(st.lists(st.integers(0, 4), min_size=2, max_size=3).map(tuple), st.integers(-5, 5))
def test_triangles_and_diagonals(shape, k):
    x = integers(shape)
    assert np.array_equal(ops.tril(x, k), np.tril(x, k))
    assert np.array_equal(ops.triu(x, k), np.triu(x, k))
    assert np.array_equal(ops.diagonal(x, k), np.linalg.diagonal(x, offset=k))
    for part in (ops.tril, ops.triu, ops.diagonal):
        assert_linear(lambda x, part=part: part(x, k), shape)


def test_outer():
    assert np.array_equal(
        ops.outer(np.arange(3), np.arange(2)), np.outer(np.arange(3), np.arange(2))
    )
    assert_multilinear(ops.outer, (3,), (2,))


x = np.zeros((2, 3))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: ops.matmul(x, x), ShapeError),
        (lambda: ops.matmul(np.zeros((4, 2, 3)), x), ShapeError),
        (lambda: ops.matmul(x, np.array(2.0)), ShapeError),
        (lambda: ops.matmul(x, 2.0), DtypeError),
        (lambda: tg.tensor(x) @ [[1.0]], DtypeError),
        (lambda: ops.matmul(np.zeros((2, 2, 3)), np.zeros((3, 3, 2))), ShapeError),
        (lambda: ops.outer(x, x[0]), ShapeError),
        (lambda: ops.tril(x[0]), ShapeError),
        (lambda: ops.diagonal(x[0]), ShapeError),
        (lambda: ops.einsum("ij,jk", x), ShapeError),
        (lambda: ops.einsum("ij,jk", x, x), ShapeError),
        (lambda: ops.einsum("ijk", x), ShapeError),
        (lambda: ops.einsum("i", x), ShapeError),
        (lambda: ops.einsum("ij->ik", x), ShapeError),
        (lambda: ops.einsum("ij->ii", x), ShapeError),
        (lambda: ops.einsum("...j->j", x), ShapeError),
        (lambda: ops.einsum("i1->i", x), ShapeError),
        (lambda: ops.einsum("ij->i->j", x), ShapeError),
        (lambda: ops.einsum("......", x), ShapeError),
        (lambda: ops.einsum("ii", x), ShapeError),
        (lambda: ops.einsum(x, "ij"), DtypeError),
        (lambda: ops.einsum("ij", [[1.0]]), DtypeError),
    ],
)
def test_bad_calls_say_so(call, error):
    with pytest.raises(error):
        call()
