"""Every barrier of the kernels, and every wait for a copy, is there for a reason: without it the
kernel's own tests fail. So the tests reach both sides of each, and none is waste (but where
NOT_NEEDED says why).

A copy of the kernels lacks one of them, and the tests of that file run on the copy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "kernels"

WAITS = re.compile(
    r"\b(__syncthreads|__syncwarp|barrier_wait|named_barrier_sync|fence_async_proxy|barrier_init_fence"
    r"|(copy_async|tma_store|wgmma)_wait<[^;]+>)\([^;]*\);"
)
WRAPPERS = {"tensor_core.cuh", "hopper.cuh", "conformance_mma.cu", "conformance_hopper.cu"}
"""They define these functions, or call each alone."""
TESTED_BY = {
    "matmul_simt.cu": ["test_matmul"],
    "matmul_mma.cu": ["test_matmul"],
    "matmul_wgmma.cu": ["test_matmul"],
    "attention_simt.cu": ["test_attention"],
    "column_sums.cu": ["test_cast"],
    "reduce.cuh": ["test_softmax", "test_norm", "test_group_norm"],
    "online.cuh": ["test_softmax", "test_cross_entropy"],
}
"""Other files have a test of their own name."""

NOT_NEEDED = {
    # The kernels call it once a block; with the barrier they may call it again.
    ("online.cuh", "__syncthreads();  // whoever still reads the last sums"),
}


def sites() -> list[tuple[str, int]]:
    """File and number, within it, of each wait."""
    files = [path for path in sorted(KERNELS.glob("*.cu*")) if path.name not in WRAPPERS]
    return [(p.name, i) for p in files for i, _ in enumerate(WAITS.finditer(p.read_text()))]


@pytest.mark.deep
@pytest.mark.parametrize(("file", "number"), sites(), ids=lambda value: str(value))
def test_every_wait_is_needed(file: str, number: int, tmp_path: Path) -> None:
    shutil.copytree(KERNELS, tmp_path / "kernels")
    shutil.copytree(ROOT / "tests", tmp_path / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "tinygen").symlink_to(ROOT / "tinygen")
    text = (KERNELS / file).read_text()
    wait = list(WAITS.finditer(text))[number]
    (tmp_path / "kernels" / file).write_text(text[: wait.start()] + ";" + text[wait.end() :])
    named = TESTED_BY.get(file, [f"test_{Path(file).stem}"])
    tests = [f"tests/kernels/{name}.py" for name in named]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-n0", "-p", "no:cacheprovider", *tests],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    line = text[: wait.start()].count("\n")
    what = text.splitlines()[line].strip()
    assert done.returncode in (0, 1), done.stdout + done.stderr
    needed = done.returncode == 1
    assert needed is ((file, what) not in NOT_NEEDED), f"{file}:{line + 1}: {what}: {needed=}"
