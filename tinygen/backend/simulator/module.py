"""A .cu file compiled for the CPU, and its kernels launched on NumPy arrays."""

from __future__ import annotations

import ctypes
import functools
import math
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from tinygen.backend.signature import Parameter
from tinygen.backend.simulator.arguments import Buffer, pack
from tinygen.backend.simulator.build import build
from tinygen.backend.simulator.counters import Counters, parse_counters
from tinygen.backend.simulator.coverage import lines_reached
from tinygen.backend.simulator.faults import Finding, KernelFault, parse_findings
from tinygen.backend.simulator.image import NOWHERE, RED_ZONE, Image
from tinygen.backend.simulator.memory import overrun
from tinygen.errors import UsageError

Schedule = Literal["forward", "reverse", "random"]
SCHEDULES = {"forward": 0, "reverse": 1, "random": 2}

PREEMPTION = (0, 20, 200)
"""Interruptions in a thousand accesses under schedule "random", by the seed."""

MOST_THREADS = (1024, 1024, 64)
MOST_BLOCKS = (2**31 - 1, 65535, 65535)
MOST_STATIC = 48 << 10
MOST_SHARED = 227 << 10
"""Bytes of shared memory that a block may have (sm_90)."""
PATIENCE = 60.0
"""Seconds that a launch may compute before it counts as endless."""


class _Array(ctypes.Structure):
    _fields_: ClassVar = [
        ("begin", ctypes.c_uint64),
        ("end", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
    ]


class _Buffer(ctypes.Structure):
    _fields_: ClassVar = [*_Array._fields_, ("read_only", ctypes.c_uint32)]


class _Options(ctypes.Structure):
    """sim_options of control.cpp."""

    _fields_: ClassVar = [
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("shared", ctypes.c_uint32),
        ("alignment", ctypes.c_uint32),
        ("checking", ctypes.c_uint32),
        ("schedule", ctypes.c_uint32),
        ("preempt", ctypes.c_uint32),
        ("seed", ctypes.c_uint64),
        ("seconds", ctypes.c_double),
        ("image_begin", ctypes.c_uint64),
        ("image_end", ctypes.c_uint64),
        ("static_begin", ctypes.c_uint64),
        ("static_end", ctypes.c_uint64),
        ("arrays", ctypes.POINTER(_Array)),
        ("array_count", ctypes.c_uint64),
        ("buffers", ctypes.POINTER(_Buffer)),
        ("buffer_count", ctypes.c_uint64),
    ]


class _Entry:
    """What is the same for every launch of one kernel."""

    def __init__(self, image: Image, name: str, names: Sequence[str]) -> None:
        self.body = ctypes.cast(getattr(image.library, f"sim_body_{name}"), ctypes.c_void_p)
        signature = getattr(image.library, f"sim_signature_{name}")
        signature.restype = ctypes.c_void_p
        at = signature()
        self.parameters = []
        for i, parameter in enumerate(names):
            code = ctypes.string_at(at + 4 * i, 2).decode()
            size = ctypes.c_uint16.from_address(at + 4 * i + 2).value
            self.parameters.append(Parameter(code[0], code[1], size, parameter))
        mine = [
            static
            for static in image.statics
            if RED_ZONE not in static.name
            and (static.function == name or f"sim_body_{static.function}" not in image.entries)
        ]
        self.arrays = (_Array * len(mine))(
            *[_Array(static.begin, static.end, static.name.encode()) for static in mine]
        )
        self.static_bytes = sum(static.end - static.begin for static in mine if static.name)
        self.threads = getattr(image.library, f"sim_bounds_{name}")()
        """Of a block at most: __launch_bounds__."""


class Module:
    """A .cu file and its kernels (`extern "C" __global__`).

    `source` is a path or the text itself; `defines` become `#define` lines before it; headers are
    looked for beside the file and in the folders `include`. The fast build runs at the speed of
    compiled C++; the checking build finds what docs/simulator.md lists, some thirty times slower.
    Without `checking` the environment decides: TINYGEN_SIM_CHECK=1.

    Raises `UnavailableError` without a compiler or NVIDIA's headers, `KernelError` where the file
    does not compile.
    """

    _turn: ClassVar = threading.Lock()  # the runtime has one state
    _checked: ClassVar[list[Image]] = []

    def __init__(
        self,
        source: str | Path,
        defines: Mapping[str, object] | None = None,
        checking: bool | None = None,
        *,
        include: Sequence[Path] = (),
    ) -> None:
        if checking is None:
            checking = os.environ.get("TINYGEN_SIM_CHECK", "0") not in ("", "0")
        folders = [Path(folder).resolve() for folder in include]
        if isinstance(source, Path):
            path = source.resolve()
            text, file = path.read_text(), str(path)
            folders.insert(0, path.parent)
        else:
            text, file = source, "kernel.cu"
        self.checking = checking
        built = build(text, file, defines or {}, folders, checking=checking)
        self._image = Image(built.library, file)
        if checking:
            Module._checked.append(self._image)
        self._alignment = built.alignment
        self._parameters = built.kernels
        self._runtime = self._image.library  # which is linked to it, and so finds its functions
        self._runtime.sim_findings.restype = ctypes.c_char_p
        self._runtime.sim_counters.restype = ctypes.c_char_p
        self._entry = functools.cache(self._make_entry)
        self._counted: str | None = None

    @property
    def kernels(self) -> list[str]:
        """The names of the file's kernels."""
        return list(self._parameters)

    def parameters(self, kernel: str) -> list[Parameter]:
        """What the kernel takes. UsageError if the file has no such kernel."""
        return self._entry(kernel).parameters

    @property
    def counters(self) -> Counters:
        """Memory accesses and barriers of the last launch, by source line; checking builds only."""
        if self._counted is None:
            raise UsageError("counters are taken by a checking build, in a launch: checking=True.")
        return parse_counters(self._counted, self._image)

    @classmethod
    def lines_reached(cls) -> dict[str, dict[int, bool]]:
        """By file and line: whether any checked launch of this process has run it (coverage.py)."""
        return lines_reached(cls._checked)

    def launch(
        self,
        kernel: str,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[Any],
        shared: int = 0,
        *,
        schedule: Schedule = "forward",
        seed: int = 0,
        preempt: int | None = None,
        patience: float = PATIENCE,
    ) -> None:
        """Runs `kernel` on `args`, in place.

        `args` are contiguous arrays, NumPy scalars of the parameters' exact types, `TensorMap`s,
        and None for a null pointer; `shared` is the number of bytes of dynamic shared memory.
        `schedule` is the order of threads and blocks; "random" follows `seed` and also interrupts
        threads at `preempt` of a thousand accesses. A launch that computes for `patience` seconds
        counts as endless.

        Raises `KernelFault` with everything that was found; arrays then hold what the kernel had
        written by that time. `UsageError` for a grid or block that no GPU takes.
        """
        entry = self._entry(kernel)
        dimensions = [_three(grid, "grid", MOST_BLOCKS), _three(block, "block", MOST_THREADS)]
        threads = math.prod(dimensions[1])
        if threads > entry.threads:
            raise UsageError(f"{kernel}: a block of {threads} threads; {entry.threads} at most.")
        if entry.static_bytes > MOST_STATIC:
            raise UsageError(
                f"{kernel}: {entry.static_bytes} bytes of static shared memory; {MOST_STATIC} at "
                "most, beyond that memory must be dynamic (extern __shared__)."
            )
        if shared + entry.static_bytes > MOST_SHARED:
            raise UsageError(
                f"{kernel}: {shared + entry.static_bytes} bytes of shared memory; "
                f"a block has {MOST_SHARED} at most."
            )
        pointers, buffers, _keep = pack(kernel, entry.parameters, args)
        options = self._options(entry, dimensions, buffers, shared)
        options.schedule = SCHEDULES[schedule]
        if schedule == "random":
            options.preempt = PREEMPTION[seed % len(PREEMPTION)] if preempt is None else preempt
        options.seed = seed
        options.seconds = patience
        with self._turn:
            found = self._runtime.sim_launch(entry.body, pointers, ctypes.byref(options))
            told = self._runtime.sim_findings().decode() if found else ""
            self._counted = self._runtime.sim_counters().decode() if self.checking else None
        findings = parse_findings(told, self._image) if found else []
        if not self.checking:
            findings += _overruns(buffers)
        if findings:
            raise KernelFault(kernel, findings)

    def _make_entry(self, kernel: str) -> _Entry:
        if kernel not in self._parameters:
            raise UsageError(
                f"{Path(self._image.file).name} has no kernel {kernel!r}; "
                f"it has {', '.join(self._parameters)}."
            )
        return _Entry(self._image, kernel, self._parameters[kernel])

    def _options(
        self, entry: _Entry, dimensions: list[list[int]], buffers: list[Buffer], shared: int
    ) -> _Options:
        statics = self._image.statics
        given = (_Buffer * len(buffers))(
            *[_Buffer(b.begin, b.end, b.name.encode(), b.read_only) for b in buffers]
        )
        return _Options(
            grid=(ctypes.c_uint32 * 3)(*dimensions[0]),
            block=(ctypes.c_uint32 * 3)(*dimensions[1]),
            shared=shared,
            alignment=self._alignment,
            checking=self.checking,
            image_begin=self._image.begin,
            image_end=self._image.end,
            static_begin=statics[0].begin & ~15 if statics else 0,
            static_end=max(static.end for static in statics) if statics else 0,
            arrays=entry.arrays,
            array_count=len(entry.arrays),
            buffers=given,
            buffer_count=len(buffers),
        )


def _three(sizes: Sequence[int], what: str, most: Sequence[int]) -> list[int]:
    three = [*sizes, *[1] * (3 - len(sizes))]
    if len(three) != 3 or not all(1 <= n <= m for n, m in zip(three, most, strict=True)):
        raise UsageError(f"a {what} has up to three dimensions, 1 to {most}, not {tuple(sizes)}.")
    return three


def _overruns(buffers: Sequence[Buffer]) -> list[Finding]:
    """What the guard zones say after a fast launch, which has no lines."""
    return [
        Finding("out-of-bounds", NOWHERE, (), (), f"the kernel wrote {told} of '{buffer.name}'")
        for buffer in buffers
        if (told := overrun(buffer.array))
    ]
