"""The primitives of a device other than the CPU: kernels, and what has neither kernel nor twin.

A fused op for which there is no kernel runs its `reference`, which is made of plain ops, so only
what is written in terms of a back end alone stands here over `xp`, for every device. A kernel
serves a primitive by its name: see `registry`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from tinygen.backend.device import (  # noqa: F401  # their kernels serve
    activation,
    attention,
    cross_entropy,
    dropout,
    embedding,
    group_norm,
    linear,
    linear_cross_entropy,
    norm,
    random,
    rope,
    softmax,
    swiglu,
)
from tinygen.backend.device.adamw import adamw_by_kernel, adamw_update
from tinygen.backend.device.cast import astype, copy
from tinygen.backend.device.leaky import leak, leaky_relu
from tinygen.backend.device.maps import Map, avg_pool_map, resize_map
from tinygen.backend.device.registry import LAUNCHERS
from tinygen.backend.device.topk import topk
from tinygen.backend.geometry import Pair

Array = Any

__all__ = ["Primitives"]


class Primitives:
    """Primitives over `self.xp`, and by kernels; a back end adds its name, arrays, moves, `run`."""

    partial = True
    caches = False
    kernels = True
    """Set to False, the device does without kernels: for comparisons, and to find out."""
    rungs: dict[str, str]
    """By operation, the rung of its ladder to take, where that is not to be the fastest."""
    xp: Any
    launches: Any  # bool: whether it can run kernels
    multiprocessors: int
    """Blocks that run at once, which a launch should have at least."""
    compute_capability: int
    """75, 80, ... 120: which instructions there are."""

    def __init__(self) -> None:
        self.rungs = {}

    def offers(
        self, primitives: tuple[str, ...], arrays: Sequence[Array], params: Mapping[str, Any]
    ) -> bool:
        """Whether there is a kernel for each of these, and for such inputs."""
        if not primitives:
            return True
        found = [LAUNCHERS.get(name) for name in primitives]
        if not all(launcher is not None and launcher.suits(arrays, params) for launcher in found):
            return False
        return bool(self.kernels and self.launches)

    def __getattr__(self, name: str) -> Any:
        """A primitive that a kernel serves."""
        if name not in LAUNCHERS:
            raise AttributeError(f"the back end has no primitive {name!r}")
        return partial(LAUNCHERS[name].run, self)

    def asarray(self, value: Any) -> Array:
        raise NotImplementedError

    def numbers(self, scalars: Sequence[Array]) -> list[float]:
        found: list[float] = self.to_numpy(self.xp.stack(scalars)).tolist()
        return found

    def to_numpy(self, array: Array) -> Any:
        raise NotImplementedError

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.xp.empty(shape, dtype)

    def leaky_relu(self, x: Array, slope: float) -> Array:
        return leaky_relu(self.xp, x, slope)

    def leak(self, x: Array, above: Array, slope: float) -> Array:
        return leak(self.xp, x, above, slope)

    def avg_pool(self, x: Array, **window: Any) -> Array:
        return self._along_both(x, x.shape[1:3], lambda n, axis: avg_pool_map(n, axis, **window))

    def avg_pool_adjoint(self, g: Array, size: Pair, **window: Any) -> Array:
        return self._along_both(g, size, lambda n, axis: avg_pool_map(n, axis, **window).T)

    def resize(self, x: Array, size: Pair, mode: str) -> Array:
        return self._along_both(x, x.shape[1:3], lambda n, axis: resize_map(n, size[axis], mode))

    def resize_adjoint(self, g: Array, size: Pair, mode: str) -> Array:
        sizes = g.shape[1:3]
        return self._along_both(g, size, lambda n, axis: resize_map(n, sizes[axis], mode).T)

    def copy(self, x: Array) -> Array:
        return copy(self, x)

    def astype(self, x: Array, dtype: Any) -> Array:
        return astype(self, x, dtype)

    def topk(self, x: Array, k: int) -> tuple[Array, Array]:
        return topk(self, x, k)

    def address(self, array: Array) -> int:
        """Of its first element in the device's memory."""
        raise NotImplementedError

    def adamw_update(self, *arrays: Array, scratch: Array, **options: Any) -> None:
        if self.kernels and self.launches and all(a.dtype == "float32" for a in arrays):
            adamw_by_kernel(self, *arrays, **options)
        else:
            adamw_update(self.xp, *arrays, **options)

    def _along_both(self, x: Array, size: Pair, map_of: Map) -> Array:
        """x (N, H, W, C), its rows and its columns multiplied by the map's matrix of each axis."""
        for axis in (0, 1):
            matrix = self.asarray(map_of(size[axis], axis).astype(x.dtype))
            product = self.xp.tensordot(matrix, x, (1, axis + 1))
            x = self.xp.moveaxis(product, 0, axis + 1)
        return self.xp.ascontiguousarray(x)
