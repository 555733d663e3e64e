"""Ctrl-C before a command has begun: one sentence and the documented exit code, at any moment."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="os.kill sends no SIGINT there")

PROJECT = Path(__file__).parents[2]
INTERRUPTS = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(60)"
COMMAND = "import sys; from tinygen.cli.main import main; sys.exit(main())"


@pytest.fixture(autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    """A test run in the background would have its processes ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python, with a NumPy whose import interrupts it where `folder` has one."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(PROJECT)])}
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("command", [["-m", "tinygen"], ["-mtinygen"], ["bin/tinygen"]])
def test_while_numpy_is_imported(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "numpy.py").write_text(INTERRUPTS)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tinygen").write_text(COMMAND)  # as an installed command is
    done = run(tmp_path, *command, "train", "gpt")
    assert (done.returncode, done.stderr, done.stdout) == (130, "tinygen: interrupted\n", "")


@pytest.mark.parametrize("program", [["-c", "import tinygen"], ["own.py"], ["-m", "own"]])
def test_a_program_keeps_its_own_interrupt(tmp_path: Path, program: list[str]) -> None:
    (tmp_path / "numpy.py").write_text(INTERRUPTS)
    (tmp_path / "own.py").write_text("import tinygen")
    done = run(tmp_path, *program)
    assert done.returncode == -signal.SIGINT
    assert done.stderr.endswith("KeyboardInterrupt\n")
    assert "tinygen: interrupted" not in done.stderr


def test_in_code_that_was_made_from_a_string(tmp_path: Path) -> None:
    """CPython would end such a process by SIGINT, whatever `main` returns: see `AtOnce`."""
    (tmp_path / "tinygen_main.py").write_text(
        "import sys, tinygen.cli.doctor, tinygen.cli.main\n"
        f"tinygen.cli.doctor.run = lambda options: exec({INTERRUPTS!r})\n"
        "sys.exit(tinygen.cli.main.main(['doctor']))\n"
    )
    done = run(tmp_path, "tinygen_main.py")
    assert (done.returncode, done.stderr) == (130, "tinygen: interrupted\n")
