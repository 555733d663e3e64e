"""Ctrl-C while the command is still being imported, NumPy above all, which takes a moment.

`tinygen/__init__.py` imports this before anything else. In a process that runs the command, Ctrl-C
then ends it with the sentence and the exit code that `main` would give, until `main` itself listens
(`signals_interrupt`); there is nothing to save yet. A program that imports tinygen keeps its own
signal handlers.
"""

import os
import signal
import sys
from types import FrameType


def is_command() -> bool:
    """Whether this process is `tinygen ...` or `python -m tinygen ...`."""
    if sys.argv[:1] == ["-m"]:  # so it is called while the package named after -m is imported
        return sys.orig_argv[-len(sys.argv)].removeprefix("-m") == "tinygen"
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    return name.removesuffix(".exe") == "tinygen"


def leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"tinygen: interrupted\n")
    os._exit(130)


if is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, leave)
