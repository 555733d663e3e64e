"""The same values in new memory: another dtype, another device, or a copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygen.arguments import dtype_named, is_real
from tinygen.backend import Array, backend_named
from tinygen.errors import DtypeError
from tinygen.function import Function, Value

__all__ = ["astype", "copy"]


class AsType(Function):
    """y = x rounded to another dtype;  dx = g in x's dtype."""

    any_dtype = True

    def forward(self, x: Array, *, dtype: Any) -> Array:
        self.source = x.dtype
        return self.backend.astype(x, dtype)

    def backward(self, g: Value) -> Value:
        return astype(g, self.source)


class ToDevice(Function):
    """y = x on another device;  dx = g on x's own."""

    any_dtype = True

    def forward(self, x: Array, *, device: str) -> Array:
        self.source = self.backend
        self.backend = backend_named(device)  # what outputs and their gradients are of
        self.xp = self.backend.xp
        return self.backend.asarray(self.source.to_numpy(x))

    def backward(self, g: Value) -> Value:
        self.backend = self.source  # what a gradient of x is of
        return ToDevice.apply(g, device=self.source.name)

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 0


class Clone(Function):
    """y = x in memory of its own;  dx = g."""

    any_dtype = True

    def forward(self, x: Array) -> Array:
        return self.backend.copy(x)

    def backward(self, g: Value) -> Value:
        return g

    def flops(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> int:
        return 0


def astype(x: Value, dtype: Any) -> Any:
    """x as `dtype`, always a copy; the gradient comes back in x's own dtype.

    `dtype` is real: "float32", "float64", "int64", "bool", ... A cast to integers or booleans ends
    the graph. Anything else is a `DtypeError`.
    """
    return AsType.apply(x, dtype=real_dtype("astype", dtype))


def copy(x: Value) -> Any:
    """x in memory of its own, with an identity gradient."""
    return Clone.apply(x)


def as_floats(x: Value) -> Value:
    """x, or its float64 copy if it holds integers or booleans: a mean or a norm of them is real."""
    kind = getattr(getattr(x, "dtype", None), "kind", "f")
    return astype(x, "float64") if kind in "biu" else x


def real_dtype(op: str, dtype: Any) -> Any:
    """`dtype` as a dtype object; booleans, integers and real floats are what tinygen computes in.

    The dtypes of every device are NumPy's, and bfloat16 that of ml_dtypes, so the CPU can tell.
    """
    found = dtype_named(op, dtype)
    if not is_real(found):
        raise DtypeError(f"{op}: dtype {dtype!r} is not boolean, integer or real floating-point.")
    return found
