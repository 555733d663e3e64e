"""Einstein summation, by way of matmul: no derivative of its own.

    einsum("bhqd,bhkd->bhqk", q, k)

1. Every axis gets a label; `...` stands for as many labels as an operand has axes to spare.
2. Labels repeated in one operand are a diagonal; those that no one else needs are summed.
3. Two operands at a time, those whose product is smallest, are contracted: their common labels
   that are still needed are batch axes, the other common ones are summed by the product.
4. The axes are brought into the order of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from math import prod
from typing import Any

from tinygen import ops
from tinygen.errors import DtypeError, ShapeError
from tinygen.function import Value
from tinygen.ops.indexing import require_array
from tinygen.ops.linalg import diagonal, matmul
from tinygen.ops.shape import permute_dims, reshape, squeeze
from tinygen.promotion import promote

__all__ = ["einsum"]

Labels = tuple[str, ...]
"""One name for each axis: a letter, or ".1", ".2", ... for the axes of `...`, from the right."""

Term = tuple[Value, Labels]


def einsum(subscripts: str, *operands: Value) -> Any:
    """The sum of products that `subscripts` spells, such as "ij,jk->ik" for a matrix product.

    One term of letters for each operand, a letter for each axis; equal letters are one index, and
    letters missing after `->` are summed. `...` stands for leading axes that broadcast. Without
    `->` the result has the letters that occur once, in alphabetical order, after those of `...`.
    Dtypes are promoted. Axes of one letter have one length: `ShapeError` otherwise, and for
    subscripts that do not fit the operands.
    """
    if not isinstance(subscripts, str):
        raise DtypeError("einsum: the subscripts come first, as a string such as 'ij,jk->ik'.")
    for x in operands:
        require_array("einsum", x)
    inputs, result = _parsed(subscripts, tuple([len(x.shape) for x in operands]))
    sizes = _sizes(subscripts, inputs, operands)
    if len({x.dtype for x in operands}) > 1:  # before any sum is taken
        operands = promote(*operands)
    terms = [
        _diagonals(*_without_unit_axes(x, labels, sizes))
        for x, labels in zip(operands, inputs, strict=True)
    ]
    while True:
        terms = [
            _summed(x, labels, result + tuple(s for t in terms[:i] + terms[i + 1 :] for s in t[1]))
            for i, (x, labels) in enumerate(terms)
        ]
        if len(terms) == 1:
            break
        i, j = min(
            combinations(range(len(terms)), 2),
            key=lambda pair: prod(sizes[s] for s in {*terms[pair[0]][1], *terms[pair[1]][1]}),
        )
        second, first = terms.pop(j), terms.pop(i)
        needed = result + tuple(s for t in terms for s in t[1])
        terms.append(_contracted(first, second, needed))
    return _permuted(*terms[0], result)


# ---- the subscripts ------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _parsed(subscripts: str, ndims: tuple[int, ...]) -> tuple[tuple[Labels, ...], Labels]:
    """The labels of every operand and of the result."""
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    written = left.split(",")
    if len(written) != len(ndims):
        raise ShapeError(
            f"einsum: {subscripts!r} has {len(written)} terms for {len(ndims)} operands."
        )
    spare = [n - len(t.replace("...", "", 1)) for t, n in zip(written, ndims, strict=True)]
    for i, (term, n) in enumerate(zip(written, spare, strict=True)):
        if n < 0 or (n > 0 and "..." not in term):
            raise ShapeError(
                f"einsum: the term {term!r} does not fit operand {i}, which has {ndims[i]} axes."
            )
    broad = max([n for t, n in zip(written, spare, strict=True) if "..." in t], default=0)
    inputs = tuple(_labels(subscripts, t, n) for t, n in zip(written, spare, strict=True))
    if arrow:
        result = _labels(subscripts, right, broad if "..." in right else 0)
        unknown = set(result) - {s for labels in inputs for s in labels}
        if unknown or len(set(result)) < len(result) or (broad and "..." not in right):
            raise ShapeError(
                f"einsum: the result of {subscripts!r} must name labels of the operands, each "
                "once, and keep the `...` of the operands."
            )
        return inputs, result
    letters = left.replace("...", "").replace(",", "")
    once = sorted(s for s in set(letters) if letters.count(s) == 1)
    return inputs, _labels(subscripts, "..." + "".join(once), broad)


def _labels(subscripts: str, term: str, spare: int) -> Labels:
    before, dots, after = term.partition("...")
    if not (before + after).isalpha() and before + after:
        raise ShapeError(
            f"einsum: {subscripts!r} may have letters, commas, one `->`, and one `...` a term."
        )
    return (*before, *(f".{i}" for i in range(spare, 0, -1) if dots), *after)


def _sizes(subscripts: str, inputs: Sequence[Labels], operands: Sequence[Value]) -> dict[str, int]:
    """The length of every label; those of `...` broadcast."""
    sizes: dict[str, int] = {}
    for labels, x in zip(inputs, operands, strict=True):
        for s, n in zip(labels, x.shape, strict=True):
            known = sizes.setdefault(s, n)
            if known != n and not (s[0] == "." and 1 in (known, n)):
                raise ShapeError(
                    f"einsum: in {subscripts!r} the label {s!r} is both {known} and {n} long; the "
                    f"operands have shapes {', '.join(str(tuple(x.shape)) for x in operands)}."
                )
            sizes[s] = n if known == 1 else known
    return sizes


# ---- one operand ---------------------------------------------------------------------------------


def _without_unit_axes(x: Value, labels: Labels, sizes: dict[str, int]) -> Term:
    """Axes of length 1 that others broadcast against are simply left out."""
    unit = tuple(i for i, s in enumerate(labels) if x.shape[i] != sizes[s])
    return (squeeze(x, unit), _without(labels, unit)) if unit else (x, labels)


def _diagonals(x: Value, labels: Labels) -> Term:
    """Every label once: axes that share one are replaced by their diagonal."""
    for s in dict.fromkeys(labels):
        while labels.count(s) > 1:
            i = labels.index(s)
            j = labels.index(s, i + 1)
            rest = [k for k in range(len(labels)) if k not in (i, j)]
            x = diagonal(permute_dims(x, (*rest, i, j)))
            labels = (*_without(labels, (i, j)), s)
    return x, labels


def _summed(x: Value, labels: Labels, needed: Labels) -> Term:
    """Labels that nobody needs are summed at once."""
    lone = tuple(i for i, s in enumerate(labels) if s not in needed)
    return (ops.sum(x, axis=lone), _without(labels, lone)) if lone else (x, labels)


def _without(labels: Labels, places: Sequence[int]) -> Labels:
    return tuple(s for i, s in enumerate(labels) if i not in places)


# ---- two operands --------------------------------------------------------------------------------


def _contracted(first: Term, second: Term, needed: Labels) -> Term:
    """The product of two operands, summed over their common labels that are not `needed`."""
    (a, a_labels), (b, b_labels) = first, second
    common = [s for s in a_labels if s in b_labels]
    batch = tuple(s for s in common if s in needed)
    inner = tuple(s for s in common if s not in needed)
    rows = tuple(s for s in a_labels if s not in b_labels)
    columns = tuple(s for s in b_labels if s not in a_labels)
    labels = batch + rows + columns
    if not inner:  # nothing to sum: an elementwise product, broadcast
        a = _permuted(a, a_labels, batch + rows)
        a = reshape(a, (*a.shape, *[1] * len(columns)))
        b = _permuted(b, b_labels, batch + columns)
        lead = len(batch)
        b = reshape(b, (*b.shape[:lead], *[1] * len(rows), *b.shape[lead:]))
        return ops.multiply(a, b), labels
    a = _permuted(a, a_labels, batch + rows + inner)
    b = _permuted(b, b_labels, batch + inner + columns)
    B, M = a.shape[: len(batch)], a.shape[len(batch) : -len(inner)]
    K, N = prod(a.shape[-len(inner) :]), b.shape[len(batch) + len(inner) :]
    y = matmul(_reshaped(a, (*B, prod(M), K)), _reshaped(b, (*B, K, prod(N))))
    return _reshaped(y, (*B, *M, *N)), labels


def _permuted(x: Value, labels: Labels, wanted: Labels) -> Value:
    return x if labels == wanted else permute_dims(x, [labels.index(s) for s in wanted])


def _reshaped(x: Value, shape: tuple[int, ...]) -> Value:
    return x if x.shape == shape else reshape(x, shape)
