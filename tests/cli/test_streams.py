"""Closed, full and broken standard streams never stop a command that has its work to do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinygen.training.metrics import read_metrics
from tinygen.training.progress import Unfailing

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="redirections of a POSIX shell")
PROJECT = Path(__file__).parents[2]


def shell(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """`script`, in which $TINYGEN is the command."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "TINYGEN": f"{sys.executable} -m tinygen",
            **environment,
        },
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "streams", ["2> >(true)", "2>&-", "2>/dev/full", ">&-", ">&- 2>&-", "<&- >&- 2>&-"]
)
def test_training_goes_on_whatever_becomes_of_its_streams(
    tmp_path: Path, tiny: list[str], streams: str
) -> None:
    if "/dev/full" in streams and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    (tmp_path / "text.txt").write_text("a text to learn from, again and again. " * 30)
    command = " ".join(["$TINYGEN train gpt --data text.txt", *tiny, "--out run", streams])
    assert shell(command, tmp_path).returncode == 0
    log = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in log] == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / "run" / "checkpoints" / "step-000006").is_dir()


def test_an_error_has_its_code_even_where_nobody_can_be_told(tmp_path: Path) -> None:
    assert shell("$TINYGEN train gpt --data missing 2>/dev/full", tmp_path).returncode == 3
    assert shell("$TINYGEN train gpt --data missing 2>&-", tmp_path).returncode == 3


def test_a_result_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    result = shell("$TINYGEN --version >/dev/full", tmp_path)
    assert result.returncode == 4
    assert b"No space left" in result.stderr
    assert b"Exception" not in result.stderr


def test_a_path_that_is_not_utf8_is_a_path(tmp_path: Path, tiny: list[str]) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    try:
        (tmp_path / name).write_text("a text to learn from, again and again. " * 30)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    train = " ".join(["$TINYGEN train gpt --data $'caf\\xe9.txt'", *tiny, "--out run"])
    result = shell(train, tmp_path)
    assert result.returncode == 0, result.stderr
    assert b"caf\xe9.txt" in (tmp_path / "run" / "command.txt").read_bytes()
    sample = "$TINYGEN sample run --tokens 3 --seed 1 --temperature 0 --prompt $'a\\xe9 '"
    assert shell(f"{sample} --out s.txt", tmp_path).returncode == 0
    assert (tmp_path / "s.txt").read_bytes().startswith(b"a\xe9 ")
    result = shell(f"{sample} --json", tmp_path)
    assert json.loads(result.stdout)["samples"][0].startswith("a\udce9 ")


def test_a_user_without_a_home_lists_the_data(tmp_path: Path) -> None:
    program = (
        "import pwd, sys\n"
        "def nobody(*_): raise KeyError\n"
        "pwd.getpwuid = nobody\n"
        "from tinygen.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    (tmp_path / "homeless.py").write_text(program)
    python = f"env -u HOME -u TINYGEN_DATA -u XDG_CACHE_HOME {sys.executable} homeless.py"
    result = shell(f"{python} data list", tmp_path)
    assert result.returncode == 0, result.stderr
    assert b"not here: tinygen data fetch tinyshakespeare" in result.stdout
    result = shell(f"{python} data fetch tinyshakespeare", tmp_path)
    assert result.returncode == 4
    assert b"no home folder to keep data in; set TINYGEN_DATA" in result.stderr
    result = shell(f"{python} doctor", tmp_path)
    assert result.returncode == 6
    assert b"no home folder" in result.stdout
    assert result.stdout.endswith(b"1 finding\n")


def test_a_stream_that_cannot_fail_stands_for_any_other(tmp_path: Path) -> None:
    with (tmp_path / "closed").open("w") as closed:
        pass
    for stream in (None, closed):
        told = Unfailing(stream)
        assert told.write("word") == 4
        told.flush()
    assert not Unfailing(None).isatty()
