"""The tests of the kernels run every line of the kernels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

RUN_AND_TELL = """
import sys, pytest
from tinygen.backend.simulator import Module
status = pytest.main(["-q", "-n0", "-p", "no:cacheprovider", "tests/kernels"])
for file, lines in Module.lines_reached().items():
    for line, reached in lines.items():
        print("reached" if reached else "missed", line, file, sep="\\t", file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.deep
def test_every_line_of_the_kernels_is_run() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN_AND_TELL], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    rows = [row.split("\t") for row in done.stderr.splitlines() if row.count("\t") == 2]
    own = [row for row in rows if Path(row[2]).parent == ROOT / "kernels"]
    assert {Path(row[2]).name for row in own} >= {"softmax.cu", "norm.cu", "reduce.cuh"}
    missed = []
    for reached, line, file in own:
        text = Path(file).read_text().splitlines()[int(line) - 1].strip()
        if reached == "missed":
            missed.append(f"{Path(file).name}:{line}: {text}")
    assert not missed, "\n".join(missed)
