"""An NVIDIA GPU: CuPy's arrays and functions. The only file that names cupy."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.backend.device import Primitives
from tinygen.backend.launch import Kernel, delays, digest, span_of, translation
from tinygen.backend.nvrtc import compile_cubin
from tinygen.errors import DeviceError, UnavailableError
from tinygen.files import write_atomically

# Of cuda.h: CUtensorMapDataType, CUtensorMapSwizzle and CUtensorMapL2promotion.
MAP_TYPES = {"uint16": 1, "float16": 6, "float32": 7, "bfloat16": 9}
MAP_SWIZZLE = {0: 0, 128: 3}
MAP_L2_128_BYTES = 2


class CupyBackend(Primitives):
    """GPU number `index` as an op sees it. Raises UnavailableError where there is none."""

    def __init__(self, index: int) -> None:
        super().__init__()
        try:
            import cupy
            from cupyx.scipy import special
        except ImportError as error:
            raise UnavailableError(
                f'device "cuda:{index}" is not available: it needs CuPy, which is not installed: '
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
        major, minor = divmod(int(self.device.compute_capability), 10)
        self.compute_capability = 10 * major + minor
        self.architecture = f"sm_{major}{minor}" + ("a" if major == 9 else "")
        self.multiprocessors = int(self.device.attributes["MultiProcessorCount"])
        self._functions: dict[Any, Any] = {}
        self._encode_tiled = ctypes.CDLL("libcuda.so.1").cuTensorMapEncodeTiled
        self._map_of = lru_cache(8192)(self._encoded)  # a step of training uses its memory again

    def asarray(self, value: Any) -> Any:
        """`value` on this GPU: itself if it is there, else a copy."""
        with self.device:
            return self.cupy.asarray(value)

    def to_numpy(self, array: Any) -> Any:
        return self.cupy.asnumpy(array)

    def device_of(self, array: Any) -> str:
        return f"cuda:{array.device.id}"

    def from_dlpack(self, x: Any) -> Any:
        with self.device:
            return self.cupy.from_dlpack(x)

    def address(self, array: Any) -> int:
        return int(array.data.ptr)

    launches = True

    def run(
        self,
        kernel: Kernel,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: Sequence[Any],
        shared: int,
    ) -> None:
        """What `launch` calls once the arguments are in order."""
        key = kernel, shared
        function = self._functions.get(key)
        if function is None:
            loaded = self._loaded(kernel)
            if shared > loaded.max_dynamic_shared_size_bytes:
                loaded.max_dynamic_shared_size_bytes = shared
            self._functions[key] = function = loaded.kernel
        # A null pointer is a 64-bit zero; CuPy takes the scalars of NumPy as they are.
        pointers = [0 if argument is None else argument for argument in args]
        if self.cupy.cuda.runtime.getDevice() == self.device.id:
            function(grid, block, tuple(pointers), shared)
        else:
            with self.device:
                function(grid, block, tuple(pointers), shared)

    def span(self, array: Any) -> Any:
        """The memory from the first element of a view to its last."""
        if array.flags.c_contiguous:
            return array
        return self.cupy.lib.stride_tricks.as_strided(array, *span_of(array))

    def seconds(self, run: Any) -> float:
        """How long the GPU was at work between the start and the end of `run`. First it writes
        four gigabytes: nothing that `run` reads is left in its cache, and while it writes, the
        launches of `run` are queued, so that what Python takes is not counted."""
        with self.device:
            start, end = (self.cupy.cuda.Event() for _ in range(2))
            for _ in range(4):
                self.cupy.empty(2**30, "uint8").fill(0)
            start.record()
            run()
            end.record()
            end.synchronize()
            return float(self.cupy.cuda.get_elapsed_time(start, end)) / 1e3

    def tensor_map(self, array: Any, box: Sequence[int], swizzle: int = 128) -> Any:
        """The 128 bytes of a CUtensorMap, which a kernel takes by value: the window `box` (slowest
        axis first) that TMA moves over `array`, and its swizzle of 0 or 128 bytes."""
        return self._map_of(
            self.address(array), array.shape, array.strides, array.dtype, tuple(box), swizzle
        )

    def _encoded(
        self,
        address: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        dtype: Any,
        box: tuple[int, ...],
        swizzle: int,
    ) -> Any:
        rank, apart = len(shape), list(strides)
        for axis in range(rank - 2, -1, -1):  # of an axis of one element the driver wants one too
            if shape[axis] == 1:
                apart[axis] = -(-apart[axis + 1] * shape[axis + 1] // 16) * 16
        sizes = (ctypes.c_uint64 * rank)(*reversed(shape))
        steps = (ctypes.c_uint64 * (rank - 1))(*reversed(apart[:-1]))
        window = (ctypes.c_uint32 * rank)(*reversed(box))
        ones = (ctypes.c_uint32 * rank)(*[1] * rank)
        storage = ctypes.create_string_buffer(128 + 64)
        place = -(-ctypes.addressof(storage) // 64) * 64
        code = self._encode_tiled(
            ctypes.c_void_p(place), MAP_TYPES[dtype.name], rank, ctypes.c_void_p(address),
            sizes, steps, window, ones, 0, MAP_SWIZZLE[swizzle], MAP_L2_128_BYTES, 0,
        )  # fmt: skip
        if code:
            raise DeviceError(f"the driver refuses a tensor map of {shape}: error {code}.")
        return np.frombuffer(ctypes.string_at(place, 128), "V128")

    def _loaded(self, kernel: Kernel) -> Any:
        """Compiled to a cubin and loaded from a file: CuPy itself cannot ask for sm_90a."""
        seed = delays()
        text = ("" if seed is None else f"#define DELAYS {seed}u\n") + translation(kernel)
        folder = Path(tempfile.gettempdir()) / "tinygen-kernels"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{digest(text, self.architecture)}.cubin"
        if not path.exists():
            write_atomically(path, compile_cubin(text, self.architecture, kernel.file))
        return self.cupy.RawModule(path=str(path)).get_function(kernel.name)


class Namespace:
    """CuPy's functions, and what of NumPy's it lacks."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self.maximum = Reducing(cupy, cupy.maximum, cupy.max)
        self.minimum = Reducing(cupy, cupy.minimum, cupy.min)
        self.logical_or = Reducing(cupy, cupy.logical_or, cupy.any)
        self.logical_and = Reducing(cupy, cupy.logical_and, cupy.all)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._cupy, name)
        setattr(self, name, found)  # looked up once
        return found

    def argsort(self, x: Any, axis: int = -1, stable: bool = True) -> Any:
        """CuPy sorts stably, and knows no other way."""
        return self._cupy.argsort(x, axis=axis)

    @staticmethod
    def errstate(**_: str) -> Any:
        """A GPU raises no floating-point warnings."""
        return nullcontext()


class Reducing:
    """An elementwise function of two arrays with its `reduce`, which CuPy has under another name
    and without a value for nothing."""

    def __init__(self, cupy: Any, ufunc: Any, reduce: Any) -> None:
        self._cupy, self._ufunc, self._reduce = cupy, ufunc, reduce

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._ufunc(*args, **kwargs)

    def reduce(self, x: Any, axis: Any, keepdims: bool = False, initial: Any = None) -> Any:
        if initial is None:
            return self._reduce(x, axis=axis, keepdims=keepdims)
        if x.size:
            return self._ufunc(self._reduce(x, axis=axis, keepdims=keepdims), initial)
        empty = self._cupy.add.reduce(x, axis=axis, keepdims=keepdims)  # of the right shape
        return self._cupy.full_like(empty, initial)
