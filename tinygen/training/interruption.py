"""Ctrl-C and SIGTERM ask a run to stop after the step it is in, so that it can save."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether a signal came. The second one stops at once.

    Python delivers signals to the main thread alone; elsewhere nothing is installed.
    """
    requested = False

    def request(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        if requested:
            raise KeyboardInterrupt
        requested = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, request) for number in signals]
    try:
        yield lambda: requested
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
