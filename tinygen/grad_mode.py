"""What switches the recording of the graph: `no_grad`, `enable_grad` and `freeze`."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Iterator
from contextlib import ContextDecorator, contextmanager
from typing import Any


class Mode(threading.local):
    """Whether ops that are applied in this thread record a graph."""

    recording = True


mode = Mode()


class Recording(ContextDecorator):
    """Switches recording; a context manager and a decorator, reentrant and per thread."""

    def __init__(self, recording: bool) -> None:
        self.recording = recording
        self.previous: list[bool] = []

    def __enter__(self) -> None:
        self.previous.append(mode.recording)
        mode.recording = self.recording

    def __exit__(self, *exc: object) -> None:
        mode.recording = self.previous.pop()

    def __call__(self, fn: Any) -> Any:
        """Decorate a function, or a generator function, whose body runs between its yields."""
        if not inspect.isgeneratorfunction(fn):
            return super().__call__(fn)

        @functools.wraps(fn)
        def generator(*args: Any, **kwargs: Any) -> Any:
            inner = fn(*args, **kwargs)
            resume = functools.partial(next, inner)
            while True:
                with self._recreate_cm():
                    try:
                        value = resume()
                    except StopIteration as stop:
                        return stop.value
                try:
                    resume = functools.partial(inner.send, (yield value))
                except GeneratorExit:  # close(): what it cleans up is its body too
                    with self._recreate_cm():
                        inner.close()
                    raise
                except BaseException as error:  # throw(): for the body to handle
                    resume = functools.partial(inner.throw, error)

        return generator

    def _recreate_cm(self) -> Recording:
        return Recording(self.recording)  # a decorated function may recurse or run in threads


def is_recording() -> bool:
    return mode.recording


def no_grad() -> Recording:
    """Nothing inside records a graph: `with tg.no_grad(): ...` or `@tg.no_grad()`."""
    return Recording(False)


def enable_grad() -> Recording:
    """Recording on again, inside a `no_grad` block."""
    return Recording(True)


@contextmanager
def freeze(*modules: Any) -> Iterator[None]:
    """Inside, `modules` are constants: no parameter gathers a gradient and no buffer (running
    statistics, power-iteration vectors) moves. Gradients still flow *through* them to their inputs.
    """
    parameters = {p: p.requires_grad for module in modules for p in module.parameters()}
    parts = {part: part.frozen for module in modules for part in module.modules()}
    try:
        for parameter in parameters:
            parameter.requires_grad = False
        for part in parts:
            part.frozen = True
        yield
    finally:
        for parameter, required in parameters.items():
            parameter.requires_grad = required
        for part, frozen in parts.items():
            part.frozen = frozen
