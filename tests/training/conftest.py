"""Makes `toy`, the family that the tests here train, importable; Ctrl-C is heard."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _not_in_the_background() -> Iterator[None]:
    """Where tests run in the background of a script, Ctrl-C is ignored, and so would ours be."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
