"""An NVIDIA GPU: CuPy's arrays and functions. The only file that names cupy.

No GPU has run it yet (docs/gpu-todo.md).
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from tinygen.backend.device import PlainPrimitives
from tinygen.errors import UnavailableError


class CupyBackend(PlainPrimitives):
    """GPU number `index` as an op sees it. Raises UnavailableError where there is none."""

    def __init__(self, index: int) -> None:
        try:
            import cupy
            from cupyx.scipy import special
        except ImportError as error:
            raise UnavailableError(
                f'device "cuda:{index}" needs CuPy, which is not installed: '
                'pip install "tinygen[cuda13]" (or cuda12).'
            ) from error
        try:
            count = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise UnavailableError(
                f'device "cuda:{index}" is not available: {error}. Install NVIDIA\'s driver, or '
                'use device="cpu" or "sim".'
            ) from error
        if index >= count:
            raise UnavailableError(
                f'device "cuda:{index}" is not available: this machine has {count} GPU(s), and the '
                'first is "cuda:0".'
            )
        self.name = f"cuda:{index}"
        self.cupy = cupy
        self.device = cupy.cuda.Device(index)
        self.array_type = cupy.ndarray
        self.xp = Namespace(cupy)
        self.erf, self.erfc = special.erf, special.erfc

    def asarray(self, value: Any) -> Any:
        """`value` on this GPU: itself if it is there, else a copy."""
        with self.device:
            return self.cupy.asarray(value)

    def to_numpy(self, array: Any) -> Any:
        return self.cupy.asnumpy(array)

    def device_of(self, array: Any) -> str:
        return f"cuda:{array.device.id}"


class Namespace:
    """CuPy's functions, and what of NumPy's names it lacks: a GPU raises no floating-point
    warnings."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cupy, name)

    @staticmethod
    def errstate(**_: str) -> Any:
        return nullcontext()
