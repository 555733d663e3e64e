"""The recorder: every op of a training step, as it runs.

    with tg.trace.record() as t:
        loss = model.loss(tokens, targets)
        loss.backward()
        optimizer.step()
    print(t.table())

While a recorder is `active`, the engine hands each forward and backward to it, a Module tells it
where in the model they happen, and an optimiser announces its step. Each `Event` then holds the op,
the user's source line, module path, shapes, FLOPs, bytes and time; each `Buffer` an array's birth
and death (as event numbers) and who kept it alive. Otherwise the only cost is one `if` an op.
"""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinygen.arguments import FLOATS
from tinygen.backend import Array, backend_of
from tinygen.backend.launch import Kernel, observed
from tinygen.errors import DivergedError, GraphError

active: Recorder | None = None

_PACKAGE = Path(__file__).parent
_ENGINE = tuple(str(_PACKAGE / part) for part in ("ops", "nn", "optim", "backend")) + tuple(
    str(_PACKAGE / f"{part}.py")
    for part in (
        *("autograd", "function", "grad_mode", "leaves", "promotion", "recompute", "tensor"),
        "trace",
    )
)
_STANDARD = str(Path(weakref.__file__).parent)  # frames of contextlib and the like


@dataclass(slots=True)
class Event:
    """One op as it ran: `phase` is "forward", "backward" or "optimizer"."""

    index: int
    phase: str
    op: str
    module: str
    line: str
    inputs: list[str]
    outputs: list[str]
    flops: int
    bytes: int
    seconds: float
    finite: bool = True
    kernels: list[str] = field(default_factory=list)
    """What it launched on a device, in order."""


@dataclass(slots=True)
class Buffer:
    """An array's memory: made by event `birth`, freed before event `death` (None: still alive)."""

    bytes: int
    birth: int
    death: int | None = None
    keepers: list[int] = field(default_factory=list)


class Recorder:
    """What happened inside `record()`; read `events` and `buffers`, or print `table()`."""

    def __init__(self, check_finite: bool = False) -> None:
        self.check_finite = check_finite
        self.events: list[Event] = []
        self.buffers: list[Buffer] = []
        self._alive: dict[int, tuple[weakref.ref[Any], Buffer]] = {}
        self.phase = "forward"
        self._modules: list[tuple[Any, str]] = []
        self._nested = 0
        self._launched: list[str] = []

    # ---- called by the engine, the modules and the optimisers

    def forward(self, node: Any, arrays: Sequence[Array], params: dict[str, Any]) -> Any:
        """Run and record `node.forward`."""
        if self._nested:  # an op made of other ops is one event
            return node.forward(*arrays, **params)
        seconds, results = self._timed(node.forward, arrays, params)
        made = results if isinstance(results, tuple) else (results,)
        outputs = [node.backend.asarray(y) for y in made]
        node.origin = (".".join(name for _, name in self._modules), _source_line())
        event = self._add(node, self.phase, arrays, outputs, seconds)
        event.flops = node.forward_flops = node.flops(arrays, outputs)
        self._watch(event, outputs)
        if node.needs:
            kept = list(vars(node.saved).values()) if node.saved is not None else []
            for array in kept:
                if (buffer := self._buffer_of(array)) is not None:
                    buffer.keepers.append(event.index)
        self._require_finite(node, event, arrays, outputs)
        return results

    def backward(self, node: Any, grads: Sequence[Array]) -> Any:
        """Run and record `node.backward`, which costs a forward for each gradient it computes."""
        seconds, results = self._timed(node.backward, grads, {})
        made = results if isinstance(results, tuple) else (results,)
        outputs = [node.backend.asarray(g) for g in made if g is not None]
        event = self._add(node, "backward", grads, outputs, seconds)
        event.flops = node.forward_flops * max(1, sum(node.needs))
        self._watch(event, outputs)
        self._require_finite(node, event, grads, outputs)
        return results

    @contextmanager
    def module(self, module: Any) -> Iterator[None]:
        """Inside, ops happen in `module`; its name is the path from the module that called it."""
        name = type(module).__name__
        if self._modules:
            parent = self._modules[-1][0]
            name = next((n for n, m in parent.named_modules() if m is module and n), name)
        self._modules.append((module, name))
        try:
            yield
        finally:
            self._modules.pop()

    @contextmanager
    def optimizer(self, name: str, parameters: Sequence[Any]) -> Iterator[None]:
        """One optimiser step over `parameters`, as one event."""
        started = time.perf_counter()
        self._nested += 1
        self._launched.clear()
        try:
            yield
        finally:
            self._nested -= 1
        arrays = [p.data for p in parameters]
        event = Event(
            index=len(self.events),
            phase="optimizer",
            op=name,
            module="",
            line=_source_line(),
            inputs=[f"{len(arrays)} parameters"],
            outputs=[],
            flops=0,
            bytes=sum(a.nbytes for a in arrays),
            seconds=time.perf_counter() - started,
            kernels=self._kernels(),
        )
        self.events.append(event)
        if self.check_finite and not all(_finite(a) for a in arrays):
            event.finite = False
            raise DivergedError(f"{name} made a parameter that is not finite, at {event.line}.")

    # ---- recording

    def _timed(
        self, run: Any, arrays: Sequence[Array], params: dict[str, Any]
    ) -> tuple[float, Any]:
        self._nested += 1
        self._launched.clear()
        started = time.perf_counter()
        try:
            results = run(*arrays, **params)
        finally:
            seconds = time.perf_counter() - started
            self._nested -= 1
        return seconds, results

    def launched(self, _: Any, kernel: Kernel) -> None:
        """A device has launched `kernel`."""
        self._launched.append(kernel.name)

    def _kernels(self) -> list[str]:
        """Those of the op that has just run."""
        return list(self._launched)

    def _add(
        self,
        node: Any,
        phase: str,
        inputs: Sequence[Any],
        outputs: Sequence[Array],
        seconds: float,
    ) -> Event:
        arrays = [a for a in inputs if hasattr(a, "shape")]
        module, line = node.origin or ("", "")
        event = Event(
            index=len(self.events),
            phase=phase,
            op=type(node).__name__,
            module=module,
            line=line,
            inputs=[_form(a) for a in arrays],
            outputs=[_form(a) for a in outputs],
            flops=0,
            bytes=sum(a.nbytes for a in [*arrays, *outputs]),
            seconds=seconds,
            kernels=self._kernels(),
        )
        self.events.append(event)
        return event

    def _watch(self, event: Event, arrays: Sequence[Array]) -> None:
        """Follow the memory behind new arrays until it is freed; views belong to their owner."""
        for array in arrays:
            owner = _owner(array)
            if id(owner) in self._alive:
                continue
            buffer = Buffer(owner.nbytes, event.index)
            self.buffers.append(buffer)

            def died(_: Any, key: int = id(owner), buffer: Buffer = buffer) -> None:
                buffer.death = len(self.events)
                self._alive.pop(key, None)

            self._alive[id(owner)] = (weakref.ref(owner, died), buffer)

    def _buffer_of(self, array: Any) -> Buffer | None:
        found = self._alive.get(id(_owner(array)))
        return None if found is None else found[1]

    def _require_finite(
        self, node: Any, event: Event, inputs: Sequence[Any], outputs: Sequence[Array]
    ) -> None:
        if not self.check_finite or all(_finite(a) for a in outputs):
            return
        event.finite = False
        where = f" in {event.module}" if event.module else ""
        came = "its inputs were finite" if all(_finite(a) for a in inputs) else "so was an input"
        raise DivergedError(
            f"{event.op} ({event.phase}{where}) at {event.line} is the first op that produced a "
            f"value that is not finite; {came}. Its inputs were {', '.join(event.inputs)}."
        )

    # ---- reading

    @property
    def flops(self) -> int:
        return sum(e.flops for e in self.events)

    def peak_bytes(self) -> int:
        """The most bytes of recorded buffers alive at one time."""
        changes = [0] * (len(self.events) + 2)
        for buffer in self.buffers:
            changes[buffer.birth] += buffer.bytes
            if buffer.death is not None:
                changes[buffer.death] -= buffer.bytes
        alive = peak = 0
        for change in changes:
            alive += change
            peak = max(peak, alive)
        return peak

    def table(self) -> str:
        """One line an event, then the totals."""
        rows: list[tuple[str, ...]]
        rows = [("#", "phase", "op", "module", "line", "output", "MFLOP", "MB", "ms", "kernels")]
        rows += [
            (
                str(e.index),
                e.phase,
                e.op if e.finite else f"{e.op} (not finite)",
                e.module,
                e.line,
                " ".join(e.outputs),
                f"{e.flops / 1e6:.3f}",
                f"{e.bytes / 1e6:.3f}",
                f"{e.seconds * 1e3:.3f}",
                " ".join(e.kernels),
            )
            for e in self.events
        ]
        if not any(e.kernels for e in self.events):
            rows = [row[:-1] for row in rows]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = []
        for row in rows:
            cells = [
                cell.rjust(w) if i in (0, 6, 7, 8) else cell.ljust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        seconds = sum(e.seconds for e in self.events)
        lines.append(
            f"{len(self.events)} ops, {self.flops / 1e6:.3f} MFLOP, {seconds * 1e3:.3f} ms, "
            f"peak {self.peak_bytes() / 1e6:.3f} MB in {len(self.buffers)} buffers"
        )
        return "\n".join(lines)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Inside, the recorder, if there is one, files what happens under `name`."""
    if active is None:
        yield
        return
    previous, active.phase = active.phase, name
    try:
        yield
    finally:
        if active is not None:
            active.phase = previous


@contextmanager
def record(*, check_finite: bool = False) -> Iterator[Recorder]:
    """Record every op inside; with `check_finite` the first value that is not finite is a
    `DivergedError` that names its op and source line."""
    global active
    if active is not None:
        raise GraphError("a trace is already being recorded; traces do not nest.")
    active = Recorder(check_finite)
    try:
        with observed(active.launched):
            yield active
    finally:
        active = None


def _owner(array: Array) -> Array:
    while getattr(array, "base", None) is not None and hasattr(array.base, "nbytes"):
        array = array.base
    return array


def _form(array: Array) -> str:
    return f"{array.dtype}{list(array.shape)}"


def _finite(array: Any) -> bool:
    """No NaN and no infinity; what has none to offer (integers, None) is finite."""
    if getattr(getattr(array, "dtype", None), "kind", "") not in FLOATS or array.size == 0:
        return True
    return bool(backend_of([array]).xp.isfinite(array).all())


def _source_line() -> str:
    """file:line of the innermost frame outside the engine: a model, a recipe or the user."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((*_ENGINE, _STANDARD)):
        if frame.f_back is None:
            break
        frame = frame.f_back
    path = Path(frame.f_code.co_filename)
    return f"{path.parent.name}/{path.name}:{frame.f_lineno}"
