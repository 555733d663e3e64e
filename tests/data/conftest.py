"""Where real data are, and what tests of writing share."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """`real_data("tinyshakespeare.txt")` is that file; the test skips where it is absent."""
    folder = Path(os.environ.get("TINYGEN_DATA") or PROJECT.parent / "shared" / "data")

    def path_of(filename: str) -> Path:
        path = folder / filename
        if not path.exists():
            pytest.skip(f"no {filename}: set TINYGEN_DATA to the folder that has it")
        return path

    return path_of
