"""What `pip install` delivers: every file of the package, the kernels, and the typing marker."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_the_package_and_the_kernels(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="building the wheel needs hatchling")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    delivered = {n for n in zipfile.ZipFile(wheel).namelist() if n.startswith("tinygen/")}
    expected = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "tinygen").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } | {f"tinygen/kernels/{path.name}" for path in (ROOT / "kernels").iterdir()}
    assert delivered == expected
    assert "tinygen/py.typed" in delivered
