"""Commands in real processes, and one small trained run that the tests share."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
TEXT = "The quick brown fox jumps over the lazy dog. Ünïcödé, too: 你好.\n" * 40
TINY = [
    *("--model.n-layer", "1", "--model.n-head", "2", "--model.width", "16"),
    *("--model.block-size", "8", "--batch", "4", "--steps", "6", "--save-every", "2"),
    *("--eval-every", "3", "--log-every", "1"),
]

Result = subprocess.CompletedProcess[str]
Command = Callable[..., Result]


def run_tinygen(*arguments: str, cwd: Path, timeout: float = 120, **environment: str) -> Result:
    paths = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", "tinygen", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Options of `train gpt` for six steps of a very small model."""
    return TINY


@pytest.fixture
def tinygen(tmp_path: Path) -> Command:
    """`tinygen("train", "gpt", ...)` in an empty folder that holds `text.txt`."""
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")

    def command(*arguments: str, timeout: float = 120, **environment: str) -> Result:
        return run_tinygen(*arguments, cwd=tmp_path, timeout=timeout, **environment)

    return command


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps on `text.txt`, with the character tokenizer. Tests only read it."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    data = ["--data", str(folder / "text.txt"), "--tokenizer", "char"]
    result = run_tinygen("train", "gpt", *data, *TINY, "--out", "run", cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "run"
