"""Standard streams that a command can rely on, whatever the shell made of them."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import TextIOWrapper
from typing import Any

from tinygen.training.progress import Unfailing


@contextmanager
def steady_streams() -> Iterator[None]:
    """Inside, stderr takes everything and never fails, and stdout is there.

    Notes and progress are only told: a log on a full disk, or a terminal that was closed, must not
    end the run that writes them. Results are different, so a failure of stdout is still raised.
    """
    _occupy_closed_descriptors()
    before = sys.stdout, sys.stderr
    with ExitStack() as opened:
        if sys.stdout is None:  # closed by the shell: nobody wants the result
            sys.stdout = opened.enter_context(open(os.devnull, "w", encoding="utf-8"))
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal without the character shows "?"
        sys.stderr = Unfailing(sys.stderr)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before
            for stream in before:
                _settle(stream)


def _occupy_closed_descriptors() -> None:
    """Put the null device where 0, 1 or 2 is closed: else the next file that is opened, such as a
    run's log, becomes the standard error of every library in the process."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


def _settle(stream: Any) -> None:
    """Let go of what `stream` cannot write: Python would try again at its end, and exit 120."""
    if stream is None:
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
