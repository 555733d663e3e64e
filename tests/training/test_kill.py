"""Real processes, really killed: at most the steps since the last checkpoint are lost."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tinygen.training.metrics import read_metrics
from tinygen.training.run import Run

pytestmark = pytest.mark.skipif(os.name == "nt", reason="SIGKILL and SIGINT are POSIX")

TOY = Path(__file__).parent / "toy.py"
PROJECT = TOY.parents[2]
TRAIN = ["train", "toy", "--out", "runs/r"]
RESUME = ["train", "--resume", "runs/r"]


@pytest.fixture(autouse=True)
def signals_are_heard() -> Iterator[None]:
    """A test run under nohup, or in the background, would have its processes ignore some."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {n: signal.getsignal(n) for n in numbers}
    for number, handler in before.items():
        if handler == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, str(TOY), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], code: int) -> str:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    return errors


def trace(folder: Path) -> list[dict[str, Any]]:
    return read_metrics(folder / "runs" / "r" / "metrics.jsonl")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The trace of a run that nobody disturbs."""
    folder = tmp_path_factory.mktemp("straight")
    finish(start(folder, *TRAIN), 0)
    return trace(folder)


def check_killed_at(number: int, folder: Path, expected: list[dict[str, Any]]) -> bool:
    """Kill before file operation `number`, then resume; False once a run has fewer operations."""
    process = start(folder, *TRAIN, TOY_DIES_AT=str(number))
    _, errors = process.communicate(timeout=120)
    if process.returncode == 0:
        return False
    assert process.returncode == -signal.SIGKILL, errors
    if not (folder / "runs" / "r").exists():  # killed before the run began: nothing is half there
        finish(start(folder, *TRAIN), 0)
    else:
        run = Run(folder / "runs" / "r")
        saved, logged = run.steps(), len(trace(folder)) if run.metrics_path.exists() else 0
        assert logged - max(saved, default=0) <= 5  # save_every of the toy
        for step in saved:
            assert run.load(step) is not None
        finish(start(folder, *RESUME), 0)
    assert trace(folder) == expected
    names = sorted(path.name for path in (folder / "runs" / "r" / "checkpoints").iterdir())
    assert names == ["step-000025", "step-000030"]
    return True


@pytest.mark.parametrize("number", [1, 4, 9, 14, 23, 37, 52, 71])
def test_a_process_killed_at_a_file_operation_resumes_to_the_same_bits(
    tmp_path: Path, expected: list[dict[str, Any]], number: int
) -> None:
    assert check_killed_at(number, tmp_path, expected)


@pytest.mark.deep
def test_a_process_killed_at_every_file_operation_resumes_to_the_same_bits(
    tmp_path: Path, expected: list[dict[str, Any]]
) -> None:
    number = 1
    while True:
        folder = tmp_path / str(number)
        folder.mkdir()
        if not check_killed_at(number, folder, expected):
            break
        number += 1
    assert number > 71  # the default tests above are among them


def test_a_process_killed_at_random_moments_resumes_to_the_same_bits(
    tmp_path: Path, expected: list[dict[str, Any]]
) -> None:
    """Three kills, each when the log has grown by a random number of lines."""
    draw = random.Random(0)
    arguments, pause = TRAIN, ["--model.pause", "0.01"]
    for _ in range(3):
        process = start(tmp_path, *arguments, *(pause if arguments is TRAIN else []))
        wait_for_lines(process, tmp_path, draw.randint(1, 7))
        process.send_signal(signal.SIGKILL)
        finish(process, -signal.SIGKILL)
        arguments = RESUME
    finish(start(tmp_path, *RESUME), 0)
    assert trace(tmp_path) == expected


def wait_for_lines(process: subprocess.Popen[str], folder: Path, lines: int) -> None:
    """Until this process has written `lines` lines more than the run had at its last checkpoint."""
    path = folder / "runs" / "r" / "metrics.jsonl"
    steps = Run(folder / "runs" / "r").steps() if path.exists() else []
    while process.poll() is None:
        if path.exists() and len(read_metrics(path)) >= max(steps, default=0) + lines:
            return
    pytest.fail(f"the run ended by itself: {process.communicate()[1]}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_exits_130(
    tmp_path: Path, expected: list[dict[str, Any]], number: signal.Signals
) -> None:
    process = start(tmp_path, *TRAIN, "--model.pause", "0.02")
    wait_for_lines(process, tmp_path, 3)
    process.send_signal(number)
    errors = finish(process, 130)
    step = max(Run(tmp_path / "runs" / "r").steps())
    assert f"interrupted at step {step} of 30, and saved" in errors
    assert "Traceback" not in errors
    finish(start(tmp_path, *RESUME), 0)
    assert trace(tmp_path) == expected
