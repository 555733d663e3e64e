"""The device "sim": arrays that only the simulator and this package can read.

A machine without a GPU runs the whole path of one: arrays that are not NumPy's, ops that must not
touch host memory, kernels by the simulator (`tinygen/backend/simulator`). What has no kernel runs
through `xp`, NumPy's own functions on the memory of the arrays, as CuPy's would on a GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.backend.device import PlainPrimitives
from tinygen.backend.numpy_backend.special import erf, erfc
from tinygen.backend.sim.array import SimArray
from tinygen.backend.sim.namespace import Namespace

__all__ = ["SimArray", "SimBackend"]


class SimBackend(PlainPrimitives):
    """The simulated device as an op sees it."""

    name = "sim"
    xp = Namespace()
    array_type = SimArray

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
    def erf(x: SimArray) -> SimArray:
        return SimArray(erf(x.host))

    @staticmethod
    def erfc(x: SimArray) -> SimArray:
        return SimArray(erfc(x.host))
