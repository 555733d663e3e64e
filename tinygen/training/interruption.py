"""Signals that end a process, turned into something that lets it save or tidy up first."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_HANG_UP = getattr(signal, "SIGHUP", None)  # the terminal was closed; Windows has none
_ENDINGS = [number for number in (signal.SIGTERM, _HANG_UP) if number is not None]


class AtOnce(KeyboardInterrupt):
    """A signal that is obeyed at once.

    A class of our own, for where a plain KeyboardInterrupt has passed through code that was made
    from a string, as that of dataclasses is, CPython remembers it: at its end it kills itself by
    SIGINT, although the exception was handled, and the exit code is lost.
    """


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C, SIGTERM or SIGHUP came: a wish to stop after the
    step at work, so that the run can be saved. The second signal raises AtOnce.
    """
    requested = False

    def request(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        if requested:
            raise AtOnce
        requested = True

    with _handled(request, signal.SIGINT, *_ENDINGS):
        yield lambda: requested


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Inside, Ctrl-C, SIGTERM and SIGHUP raise AtOnce: unfinished files go."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise AtOnce

    with _handled(interrupt, signal.SIGINT, *_ENDINGS):
        yield


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], *numbers: Any) -> Iterator[None]:
    """`handler` serves the signals `numbers` inside, in the main thread, which alone gets them.

    One that is ignored already stays ignored: the command was started with `nohup`, or in the
    background of a script.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
