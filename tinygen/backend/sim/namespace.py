"""`xp` of the simulated device: NumPy's functions on arrays that NumPy alone would refuse."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.backend.sim.array import on_device


class Namespace:
    """`xp.name` is NumPy's `name`, from device arrays to device arrays; types and constants are
    NumPy's own."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        if isinstance(found, np.ufunc):
            found = Ufunc(found)
        elif callable(found) and not isinstance(found, type):
            found = on_device(found)
        setattr(self, name, found)  # looked up once
        return found


class Ufunc:
    """An elementwise function with its methods: `xp.add`, `xp.add.reduce`, `xp.add.at`."""

    def __init__(self, ufunc: np.ufunc) -> None:
        self._call = on_device(ufunc)
        for method in ("reduce", "accumulate", "at", "outer", "reduceat"):
            setattr(self, method, on_device(getattr(ufunc, method)))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)
