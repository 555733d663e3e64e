"""Products of matrices, Einstein sums, and the parts of a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen import ops
from tinygen.errors import DtypeError, ShapeError
from tinygen.testing.bounds import each, sums, ulp
from tinygen.testing.catalogue import register
from tinygen.testing.catalogue.argument import bad, zeros
from tinygen.testing.drawing import Call, Draw

EXACT: dict[str, Any] = {"linear": True, "exact_on_ints": True}


def matmul_args(draw: Draw) -> Call:
    """Vectors, matrices, and batches that broadcast."""
    m, k, n = (draw.side(most=5) for _ in range(3))
    batch, other = draw.broadcastable(2, 0, 1)
    a = draw.choice(((m, k), (k,), (*batch, m, k), (2, 3, m, k)))
    b = draw.choice(((k, n), (k,), (*other, k, n), (3, k, n)))
    try:
        np.broadcast_shapes(a[:-2], b[:-2])
    except ValueError:
        b = (k, n)
    return Call(draw.array(a), draw.array(b))


register(
    ops.matmul,
    args=matmul_args,
    truth=np.matmul,
    bound=sums(),
    exact_on_ints=True,
    promotes=True,
    special=False,
    bad=(
        bad("inner lengths", ShapeError, lambda: ops.matmul(zeros(2, 3), zeros(2, 3))),
        bad("a number", DtypeError, lambda: ops.matmul(zeros(2, 3), 2.0)),
        bad("no axes", ShapeError, lambda: ops.matmul(zeros(), zeros(2))),
        bad("batches", ShapeError, lambda: ops.matmul(zeros(2, 1, 1), zeros(3, 1, 1))),
    ),
)


def outer_args(draw: Draw) -> Call:
    return Call(draw.array((draw.side(),)), draw.array((draw.side(),)))


register(
    ops.outer,
    args=outer_args,
    truth=np.outer,
    bound=each(ulp(2)),
    exact_on_ints=True,
    promotes=True,
    bad=(
        bad("a matrix", ShapeError, lambda: ops.outer(zeros(2, 2), zeros(2))),
        bad("a number", DtypeError, lambda: ops.outer(zeros(2), 1.0)),
    ),
)

EINSUMS = (
    ("ij,jk->ik", "ij", "jk"),
    ("i,i->", "i", "i"),
    ("ij->ji", "ij"),
    ("ii->i", "ii"),
    ("ii", "ii"),
    ("ij->", "ij"),
    ("bij,bjk->bik", "bij", "bjk"),
    ("bhqd,bhkd->bhqk", "bhqd", "bhkd"),
    ("i,j->ij", "i", "j"),
    ("ij,ij->ij", "ij", "ij"),
    ("ij,ik", "ij", "ik"),
    ("...i,...i->...", "abi", "bi"),
    ("...ij,jk->...ik", "aij", "jk"),
    ("ij,jk,kl->il", "ij", "jk", "kl"),
    ("iij,j->i", "iij", "j"),
    ("ab,cd,ef->fb", "ab", "cd", "ef"),
)


def einsum_args(draw: Draw) -> Call:
    subscripts, *operands = draw.choice(EINSUMS)
    sizes = {label: draw.side(most=4) for label in "abcdefhijklq"}
    shapes = [[sizes[label] for label in labels] for labels in operands]
    return Call(*(draw.array(shape) for shape in shapes), subscripts=subscripts)


register(
    lambda *operands, subscripts: ops.einsum(subscripts, *operands),
    name="einsum",
    args=einsum_args,
    truth=lambda *operands, subscripts: np.einsum(subscripts, *operands),
    bound=sums(),
    exact_on_ints=True,
    promotes=True,
    special=False,
    bad=(
        bad("lengths", ShapeError, lambda: ops.einsum("ij,jk->ik", zeros(2, 3), zeros(2, 3))),
        bad("too few operands", ShapeError, lambda: ops.einsum("ij,jk->ik", zeros(2, 3))),
        bad("too few axes", ShapeError, lambda: ops.einsum("ijk->i", zeros(2, 3))),
        bad("an unknown label", ShapeError, lambda: ops.einsum("ij->k", zeros(2, 3))),
        bad("punctuation", ShapeError, lambda: ops.einsum("i!->i", zeros(2))),
    ),
)


def triangle_args(draw: Draw) -> Call:
    return Call(draw.array(draw.shape(2, 3)), k=draw.integer(-3, 3))


for f, truth in ((ops.tril, np.tril), (ops.triu, np.triu)):
    register(
        f,
        args=triangle_args,
        truth=truth,
        bad=(bad("a vector", ShapeError, lambda f=f: f(zeros(3))),),
        **EXACT,
    )

register(
    ops.diagonal,
    args=lambda draw: Call(draw.array(draw.shape(2, 3)), offset=draw.integer(-3, 3)),
    truth=lambda x, offset: np.diagonal(x, offset, -2, -1),
    bad=(bad("a vector", ShapeError, lambda: ops.diagonal(zeros(3))),),
    **EXACT,
)
