"""The device "sim": arrays that only the simulator and this package can read.

A machine without a GPU runs the whole path of one: arrays that are not NumPy's, ops that must not
touch host memory, kernels by the simulator (`tinygen/backend/simulator`). What has no kernel runs
through `xp`, NumPy's own functions on the memory of the arrays, as CuPy's would on a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygen.backend.device import Primitives
from tinygen.backend.launch import Kernel, delays, kernels_folder, span_of
from tinygen.backend.numpy_backend.special import erf, erfc
from tinygen.backend.sim.array import SimArray, unwrapped
from tinygen.backend.sim.namespace import Namespace
from tinygen.backend.simulator import Module, TensorMap, empty, require_toolchain
from tinygen.errors import DeviceError, UnavailableError

__all__ = ["SimArray", "SimBackend"]


class SimBackend(Primitives):
    """The simulated device as an op sees it."""

    name = "sim"
    multiprocessors = 1
    xp = Namespace()
    array_type = SimArray
    compute_capability = 90

    @staticmethod
    def asarray(value: Any) -> SimArray:
        """`value` on the device: itself if it is there, else a copy."""
        return value if isinstance(value, SimArray) else SimArray(np.array(value))

    @staticmethod
    def to_numpy(array: Any) -> Any:
        """A copy in host memory."""
        return array.host.copy()

    @staticmethod
    def device_of(array: Any) -> str:
        return "sim"

    @staticmethod
    def from_dlpack(x: Any) -> SimArray:
        """An array of the device itself: nobody else has one."""
        if not isinstance(x, SimArray):
            raise DeviceError(
                f"from_dlpack: this {type(x).__name__} is on an extension of DLPack's devices that "
                'is not tinygen\'s "sim"; move it to the CPU in its own library.'
            )
        return x[...]

    @staticmethod
    def address(array: Any) -> int:
        return int(array.host.ctypes.data)

    @staticmethod
    def empty(shape: tuple[int, ...], dtype: Any) -> SimArray:
        """NaN, between guard zones that no kernel may touch."""
        return SimArray(empty(shape, dtype))

    @property
    def launches(self) -> bool:
        """Whether this machine has what the simulator needs: a compiler and NVIDIA's headers."""
        try:
            require_toolchain()
        except UnavailableError:
            return False
        return True

    def run(
        self,
        kernel: Kernel,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: Sequence[Any],
        shared: int,
    ) -> None:
        """What `launch` calls once the arguments are in order."""
        seed = delays()
        self.module(kernel).launch(
            kernel.name,
            grid,
            block,
            unwrapped(list(args)),
            shared,
            schedule="forward" if seed is None else "random",
            seed=seed or 0,
        )

    @staticmethod
    def module(kernel: Kernel) -> Module:
        """The simulator's build of `kernel`; TINYGEN_SIM_CHECK=1 asks for the checking one, which
        has counters after a launch."""
        checking = os.environ.get("TINYGEN_SIM_CHECK", "0") not in ("", "0")
        return compiled(*kernel.module, checking)

    @staticmethod
    def span(array: SimArray) -> SimArray:
        """The memory from the first element of a view to its last, for a kernel that takes
        strides."""
        return SimArray(as_strided(array.host, *span_of(array)))

    @staticmethod
    def tensor_map(array: SimArray, box: Sequence[int], swizzle: int = 128) -> TensorMap:
        return TensorMap(array.host, box, swizzle)

    @staticmethod
    def erf(x: SimArray) -> SimArray:
        return SimArray(erf(x.host))

    @staticmethod
    def erfc(x: SimArray) -> SimArray:
        return SimArray(erfc(x.host))


@cache
def compiled(file: str, definitions: tuple[tuple[str, object], ...], checking: bool) -> Module:
    return Module(kernels_folder() / file, dict(definitions), checking)
