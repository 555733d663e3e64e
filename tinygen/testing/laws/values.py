"""Laws about what an op returns."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tinygen.backend import Array
from tinygen.errors import DtypeError, TinygenError
from tinygen.tensor import Tensor
from tinygen.testing.applying import (
    Arrays,
    applied,
    assert_same,
    cotangents,
    gradients,
    rounding_of,
    witnessed,
)
from tinygen.testing.bounds import Bound, as_tuple, outputs
from tinygen.testing.catalogue import Op
from tinygen.testing.compare import assert_close
from tinygen.testing.drawing import Call
from tinygen.testing.laws.law import LawError, RejectedError, law, takes_no_array
from tinygen.testing.layouts import LAYOUTS, broadcast

DTYPES = (np.float64, np.float32)


@law()
def value(op: Op, call: Call, rng: np.random.Generator) -> None:
    """The value is that of an independent truth, within the op's bound, in both dtypes."""
    expected, bounds = _truth(op, call)
    with np.errstate(all="ignore"):  # wide numbers may overflow, and must do so as the truth does
        for dtype in DTYPES:
            _compare(op, _applied(op, call.cast(dtype)), expected, bounds, dtype)


@law("special", exempt=lambda op: None if op.special else "special values are not promised")
def special_values(op: Op, call: Call, rng: np.random.Generator) -> None:
    """NaN, infinities, signed zeros and subnormal numbers give what the truth gives."""
    value(op, call, rng)


@law("integers", exempt=lambda op: None if op.exact_on_ints else "rounds, on integers too")
def exact_integers(op: Op, call: Call, rng: np.random.Generator) -> None:
    """Small integers give exactly the truth: every right order of summation does."""
    expected = outputs(op.truth, call)
    for dtype in DTYPES:
        for y, t in zip(_applied(op, call.cast(dtype)), expected, strict=True):
            assert_close(y, t)


@law("smooth", zero_size=True)
def zero_size(op: Op, call: Call, rng: np.random.Generator) -> None:
    """Arrays without elements give what the truth gives, and gradients of the right shape."""
    expected, bounds = _truth(op, call)
    sizes = [a.size for a in call.arrays if isinstance(a, np.ndarray)]
    if 0 not in [*sizes, *(t.size for t in expected)]:
        raise RejectedError
    for dtype in DTYPES:
        _compare(op, _applied(op, call.cast(dtype)), expected, bounds, dtype)
    if op.differentiable:
        leaves, ys = applied(op, call)
        for v, x in zip(gradients(ys, leaves, cotangents(ys, rng)), leaves, strict=True):
            if v.shape != x.shape or not np.isfinite(v).all():
                raise LawError(f"the gradient of an input of shape {x.shape} is {v!r}.")


@law("smooth", exempt=takes_no_array)
def layouts(op: Op, call: Call, rng: np.random.Generator) -> None:
    """Strided, reversed, transposed, misaligned and read-only arrays change nothing."""
    expected, bounds = _truth(op, call)
    wanted: Arrays = ()
    gs: Arrays = ()
    floor = 0.0
    if op.differentiable:
        leaves, ys = applied(op, call)
        gs = cotangents(ys, rng)
        floor = rounding_of(gs, ys)
        wanted = gradients(ys, leaves, gs)
    for name, layout in LAYOUTS.items():
        laid = call.changed(layout)
        _compare(op, _applied(op, laid), expected, bounds, np.float64)
        if op.differentiable:
            leaves, ys = applied(op, laid)
            found = gradients(ys, leaves, [LAYOUTS["reversed"](g) for g in gs])
            for v, w in zip(found, wanted, strict=True):
                assert_same(v, w, f"the gradient in layout {name!r}", floor)


@law("smooth", exempt=takes_no_array)
def repeated_memory(op: Op, call: Call, rng: np.random.Generator) -> None:
    """Arrays with stride 0, whose elements are one number in one place, are as good as copies."""
    repeated = call.changed(broadcast)
    copied = repeated.changed(np.array)
    expected, bounds = _truth(op, copied)
    _compare(op, _applied(op, repeated), expected, bounds, np.float64)
    if op.differentiable:
        leaves, ys = applied(op, copied)
        gs = cotangents(ys, rng)
        wanted = gradients(ys, leaves, gs)
        leaves, ys = applied(op, repeated)
        for v, w in zip(gradients(ys, leaves, gs), wanted, strict=True):
            assert_same(v, w, "the gradient at repeated memory", rounding_of(gs, ys))


@law(exempt=takes_no_array)
def arrays_and_tensors(op: Op, call: Call, rng: np.random.Generator) -> None:
    """Arrays in, arrays out; Tensors in, Tensors out; the same bits, recorded or not."""
    for dtype in DTYPES:
        cast = call.cast(dtype)
        with np.errstate(all="ignore"):
            plain = as_tuple(op.fn(*cast.arrays, **cast.params))
            for y in plain:
                if type(y) is not np.ndarray:
                    raise LawError(f"arrays in, but a {type(y).__name__} came out.")
            for recorded in (False, True):
                wrapped = [
                    Tensor(a, recorded and i in op.inputs(call)) if isinstance(a, np.ndarray) else a
                    for i, a in enumerate(cast.arrays)
                ]
                for y, p in zip(as_tuple(op.fn(*wrapped, **cast.params)), plain, strict=True):
                    if not isinstance(y, Tensor):
                        raise LawError(f"Tensors in, but a {type(y).__name__} came out.")
                    if (y.dtype, y.shape, y.data.tobytes()) != (p.dtype, p.shape, p.tobytes()):
                        raise LawError("a Tensor gives other bits than its array.")


@law(
    "smooth",
    exempt=lambda op: None if op.promotes else "one floating dtype, or an error",
)
def mixed_dtypes(op: Op, call: Call, rng: np.random.Generator) -> None:
    """float32 and float64 together give float64, and each gradient has its input's dtype."""
    places = op.inputs(call)
    if len(places) < 2:
        raise RejectedError
    narrow = places[int(rng.integers(len(places)))]
    arrays = tuple(a.astype(np.float32) if i == narrow else a for i, a in enumerate(call.arrays))
    mixed = Call(*arrays, **call.params)
    expected, bounds = _truth(op, call)
    _compare(op, _applied(op, mixed), expected, bounds, np.float64)
    leaves, ys = applied(op, mixed, None)
    for v, x in zip(gradients(ys, leaves, cotangents(ys, rng)), leaves, strict=True):
        if v.dtype != x.dtype:
            raise LawError(f"the gradient of a {x.dtype} input is {v.dtype}.")


@law(exempt=takes_no_array)
def untouched(op: Op, call: Call, rng: np.random.Generator) -> None:
    """Forward and backward write into no input and no incoming gradient."""
    kept = [a.copy() if isinstance(a, np.ndarray) else a for a in call.arrays]
    with np.errstate(all="ignore"):
        op.fn(*call.arrays, **call.params)
        if op.differentiable:
            leaves, ys = applied(op, call)
            gs = cotangents(ys, rng)
            sums, witnesses = witnessed(ys)
            found = gradients(sums, (*leaves, *witnesses), gs)
            for seen, g in zip(found[len(leaves) :], gs, strict=True):
                if seen.tobytes() != g.tobytes():
                    raise LawError("backward changed the gradient that it was given.")
    for a, k in zip(call.arrays, kept, strict=True):
        if isinstance(a, np.ndarray) and a.tobytes() != k.tobytes():
            raise LawError(f"an input of shape {a.shape} was changed in place.")


@law()
def determinism(op: Op, call: Call, rng: np.random.Generator) -> None:
    """The same call gives the same bits, its gradient too."""

    def run() -> list[bytes]:
        with np.errstate(all="ignore"):
            bits = [y.tobytes() for y in _applied(op, call)]
            if op.differentiable:
                leaves, ys = applied(op, call, np.float32)
                gs = [np.ones(y.shape, y.dtype) for y in ys]
                bits += [v.tobytes() for v in gradients(ys, leaves, gs)]
        return bits

    if run() != run():
        raise LawError("two runs of the same call gave different bits.")


@law("smooth", drawn=False)
def bad_calls(op: Op, call: Call, rng: np.random.Generator) -> None:
    """Every impossible call raises its documented error, with a sentence."""
    cases = [(bad.why, bad.error, bad.call) for bad in op.bad]
    if op.takes_arrays:
        for why, wrong in (("text", "text"), ("an object", object())):
            arguments = (wrong, *call.arrays[1:])
            cases.append((why, DtypeError, partial(op.fn, *arguments, **call.params)))
    for why, expected, attempt in cases:
        try:
            attempt()
        except expected as error:
            if not isinstance(error, TinygenError) or len(str(error)) < 20:
                raise LawError(f"{why}: {error!r} says too little.") from error
        except Exception as error:
            raise LawError(f"{why}: {expected.__name__} was expected, not {error!r}.") from error
        else:
            raise LawError(f"{why}: {expected.__name__} was expected, and nothing was raised.")


# ---- shared --------------------------------------------------------------------------------------


def _truth(op: Op, call: Call) -> tuple[tuple[Array, ...], list[Bound]]:
    """What must come out, and how far off it may be."""
    with np.errstate(all="ignore"):
        wide = call.cast(np.longdouble)
        return outputs(op.truth, wide), op.bound(op.truth, wide)


def _applied(op: Op, call: Call) -> tuple[Array, ...]:
    results = as_tuple(op.fn(*call.arrays, **call.params))
    return tuple(y.data if isinstance(y, Tensor) else y for y in results)


def _compare(
    op: Op, found: Any, expected: tuple[Array, ...], bounds: list[Bound], dtype: Any
) -> None:
    if len(found) != len(expected):
        raise LawError(f"{len(found)} outputs, and the truth has {len(expected)}.")
    for y, t, bound in zip(found, expected, bounds, strict=True):
        wanted = t.dtype if op.own_dtype else np.dtype(dtype)
        if t.dtype.kind == "f" and y.dtype != wanted:
            raise LawError(f"{np.dtype(dtype)} in, but {y.dtype} out.")
        if y.dtype.kind != t.dtype.kind:
            raise LawError(f"the output is {y.dtype}, and the truth {t.dtype}.")
        assert_close(y, t, bound)
