"""Which kernels serve which primitive.

    @serves("softmax")
    def softmax(backend, x, axis): ...

registers a function that launches kernels in place of the primitive of that name. It gets the back
end first, then what the op gives. An op takes it where every one of its `primitives` has one that
suits the arrays; else its plain twin runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tinygen.arguments import FLOATS

Array = Any
Fits = Callable[[Sequence[Array], Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Launcher:
    run: Callable[..., Any]
    dtypes: tuple[str, ...]
    """Those of floating arrays for which there are kernels."""
    fits: Fits

    def suits(self, arrays: Sequence[Array], params: Mapping[str, Any]) -> bool:
        dtypes = {a.dtype for a in arrays if hasattr(a, "dtype")}
        served = all(name is None or name in self.dtypes for name in map(_float_named, dtypes))
        return served and self.fits(arrays, params)


@cache
def _float_named(dtype: Any) -> str | None:
    """The name of a dtype of floats, which NumPy makes anew each time; None for any other."""
    return str(dtype.name) if dtype.kind in FLOATS else None


LAUNCHERS: dict[str, Launcher] = {}


def serves(
    *primitives: str,
    dtypes: tuple[str, ...] = ("float32",),
    fits: Fits = lambda arrays, params: True,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorates a launcher: for these primitives, floating arrays of `dtypes`, and inputs and
    parameters of the op that `fits`."""

    def register(run: Callable[..., Any]) -> Callable[..., Any]:
        for name in primitives:
            LAUNCHERS[name] = Launcher(run, dtypes, fits)
        return run

    return register
