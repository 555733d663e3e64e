"""Dropout: a random mask, drawn once and then an input like any other."""

from __future__ import annotations

from typing import Any

from tinygen.arguments import number
from tinygen.backend import Array, backend_of
from tinygen.errors import DtypeError, ShapeError, UsageError
from tinygen.function import Function, Value
from tinygen.ops.checks import same_float_dtype
from tinygen.random import Generator
from tinygen.tensor import device_of, plain

__all__ = ["dropout"]


class Dropout(Function):
    """y = x mask / (1 - p);  dx = g mask / (1 - p)."""

    def forward(self, x: Array, mask: Array, *, p: float) -> Array:
        self.save(mask=mask)
        self.scale = 1 / (1 - p)
        return x * (mask * x.dtype.type(self.scale))

    def backward(self, g: Value) -> tuple[Value, None]:
        return g * self.saved.mask * self.scale, None


class DrawnDropout(Function):
    """The same with a mask that is drawn anew wherever it is needed, and never stored: it is a
    function of the place in the random stream. Linear, so its derivative is the same of g."""

    def forward(self, x: Array, *, p: float, key: int, block: int) -> Array:
        return self.backend.dropout(x, p, key, block)

    def backward(self, g: Value) -> Value:
        return DrawnDropout.apply(g, **self.params)


def dropout(x: Value, p: float, *, rng: Generator | None = None, mask: Value = None) -> Any:
    """Each element of `x` zeroed with probability `p`, the others scaled by 1 / (1 - p).

    The mask is drawn from `rng`, or given as a boolean array of x's shape (True = keep). The
    expectation of the output is `x` (Srivastava et al. 2014, in its inverted form). 0 <= p < 1.
    """
    same_float_dtype("dropout", x=x)
    number("dropout: p", p, least=0, below=1)
    if mask is None and p == 0:
        return x
    if mask is None:
        if not isinstance(rng, Generator):
            raise UsageError("dropout: give the random generator (rng=...) or the mask itself.")
        array = plain(x)
        backend = backend_of([array])
        if backend.partial and backend.offers(("dropout",), [array], {}):
            return DrawnDropout.apply(x, p=p, key=rng.key, block=rng.skip(array.size))
        mask = rng.uniform(x.shape, device=device_of(x)) >= p
    elif getattr(getattr(mask, "dtype", None), "kind", None) != "b":
        raise DtypeError("dropout: the mask is a boolean array or Tensor, True = keep.")
    elif mask.shape != x.shape:
        raise ShapeError(
            f"dropout: the mask has shape {mask.shape} and x {x.shape}; make them equal."
        )
    return Dropout.apply(x, plain(mask), p=p)
