"""Progress of a run on stderr: a live line on a terminal, else a plain line every ten seconds."""

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, Protocol, TextIO

_SECONDS_BETWEEN_LINES = 10.0
_SHOWN = ("loss", "val_loss", "lr")


class Progress(Protocol):
    """What the loop tells after each step."""

    def update(self, step: int, metrics: Mapping[str, float]) -> None: ...

    def tell(self, sentence: str) -> None: ...

    def close(self) -> None: ...


class Unfailing:
    """A text stream to tell things on: what it cannot take is lost, and nothing else happens.

    So a full disk under a log, a closed terminal or a reader that left never ends the run that
    tells how it goes.
    """

    def __init__(self, stream: Any) -> None:
        """`stream` is None where the process has none."""
        self._stream = stream

    def write(self, text: str) -> int:
        if self._stream is not None:
            with suppress(OSError, ValueError):  # ValueError: it is closed
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        if self._stream is not None:
            with suppress(OSError, ValueError):
                self._stream.flush()

    def isatty(self) -> bool:
        return self._stream is not None and bool(self._stream.isatty())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def progress_for(total: int, stream: TextIO | None = None) -> Progress:
    """The progress that suits `stream` (stderr): live on a terminal that has rich, else plain."""
    steady: Any = Unfailing(stream or sys.stderr)
    live = steady.isatty() and find_spec("rich") is not None
    return LiveLine(total, steady) if live else PlainLines(total, steady)


class PlainLines:
    """The first step, the last, and between them a line every ten seconds: for logs and pipes."""

    def __init__(
        self, total: int, stream: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total, self._stream, self._clock = total, stream, clock
        self._first: tuple[int, float] | None = None  # (step, when)
        self._due = 0.0
        self._latest: dict[str, float] = {}

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        self._latest |= metrics
        now = self._clock()
        if self._first is None:
            self._first = step, now
            self._due = now
        if now >= self._due or step == self._total:
            self._due = now + _SECONDS_BETWEEN_LINES
            print(self._line(step, now), file=self._stream, flush=True)

    def tell(self, sentence: str) -> None:
        print(sentence, file=self._stream, flush=True)

    def close(self) -> None:
        pass

    def _line(self, step: int, now: float) -> str:
        line = described(step, self._total, self._latest)
        first, began = self._first or (step, now)
        if first < step < self._total:
            left = (now - began) / (step - first) * (self._total - step)
            line += f"  {left:.0f} s left"
        return line


class LiveLine:
    """One line that changes in place, drawn by rich at most ten times a second."""

    def __init__(self, total: int, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._total = total
        self._latest: dict[str, float] = {}
        self._task: Any = None
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TimeRemainingColumn(),
            console=Console(file=stream),
        )

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        self._latest |= metrics
        text = described(step, self._total, self._latest)
        if self._task is None:  # only now is it known where a resumed run starts
            self._bar.start()
            self._task = self._bar.add_task(text, total=self._total, completed=step)
        self._bar.update(self._task, completed=step, description=text)

    def tell(self, sentence: str) -> None:
        self._bar.console.print(sentence, markup=False, highlight=False)

    def close(self) -> None:
        self._bar.stop()


def described(step: int, total: int, metrics: Mapping[str, float]) -> str:
    """The text "step 250/2000  loss 1.831  val_loss 1.9  lr 0.00098"."""
    shown = [f"{name} {metrics[name]:.4g}" for name in _SHOWN if name in metrics]
    return "  ".join([f"step {step}/{total}", *shown])
