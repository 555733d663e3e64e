"""metrics.jsonl, the progress lines, the time budget, and the environment record."""

import errno
import io
import json
import subprocess
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy import ToyConfig, ToyRecipe

import tinygen.training.environment as environment_module
from tinygen.errors import InputError, OutputError, UsageError
from tinygen.training.budget import parse_budget, steps_within
from tinygen.training.environment import changes, environment
from tinygen.training.metrics import MetricsLog, read_metrics
from tinygen.training.progress import LiveLine, PlainLines, progress_for

# ---- metrics.jsonl


@given(st.lists(st.integers(1, 50), unique=True), st.integers(0, 50), st.binary(max_size=9))
def test_a_log_is_cut_at_the_step_that_it_continues_from(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int], until: int, rest: bytes
) -> None:
    path = tmp_path_factory.mktemp("log") / "metrics.jsonl"
    lines = [{"step": step, "loss": step / 7} for step in sorted(steps)]
    written = "".join(f"{json.dumps(line)}\n" for line in lines)
    path.write_bytes(written.encode() + rest.replace(b"\n", b""))
    with MetricsLog(path, keep_until=until) as log:
        log.append({"step": 51, "loss": 0.1})
    kept = [line for line in lines if line["step"] <= until]
    assert read_metrics(path) == [*kept, {"step": 51, "loss": 0.1}]


class FullDisk:
    """A file on a disk with room for `room` more bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written: int = self.file.write(data[: self.room])
        self.room -= written
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 1, 10])
def test_a_line_that_does_not_fit_leaves_no_part_of_it(tmp_path: Path, room: int) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path, keep_until=0) as log:
        log.append({"step": 1})
        log._file = FullDisk(log._file, room)  # type: ignore[assignment]  # stands in for the disk
        with pytest.raises(OutputError, match="no space left"):
            log.append({"step": 2, "loss": 1.0})
    assert path.read_text() == '{"step": 1}\n'


def test_a_log_that_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_metrics(tmp_path)


@pytest.mark.parametrize("line", ["{}", "3", "nonsense", '{"step": null}', '{"step": "1"}'])
def test_a_damaged_log_names_the_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n')
    with pytest.raises(InputError, match="line 2, is no object with a step"):
        read_metrics(path)


# ---- progress


def test_plain_lines_come_first_last_and_every_ten_seconds() -> None:
    stream, times = io.StringIO(), count(0.0, 4.0)
    progress = PlainLines(8, stream, clock=lambda: next(times))
    for step in range(1, 9):
        progress.update(
            step, {"loss": 1 / step, "lr": 0.5} | ({"val_loss": 2.0} if step == 5 else {})
        )
        if step == 1:
            progress.tell("step 1: sinking")
    progress.close()
    assert stream.getvalue().splitlines() == [
        "step 1/8  loss 1  lr 0.5",
        "step 1: sinking",
        "step 4/8  loss 0.25  lr 0.5  16 s left",
        "step 7/8  loss 0.1429  val_loss 2  lr 0.5  4 s left",
        "step 8/8  loss 0.125  val_loss 2  lr 0.5",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_live_line_and_a_pipe_plain_ones() -> None:
    assert isinstance(progress_for(3, io.StringIO()), PlainLines)
    stream = Terminal()
    live = progress_for(3, stream)
    assert isinstance(live, LiveLine)
    for step in (2, 3):
        live.update(step, {"loss": 0.5})
        live.tell(f"step {step}: [sinking]: 5 %")
    live.close()
    assert "step 3/3" in stream.getvalue()
    assert "step 2: [sinking]: 5 %" in stream.getvalue()


def test_a_live_line_that_never_began_closes() -> None:
    progress_for(3, Terminal()).close()


# ---- budget


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("2m", 120.0), ("1.5h", 5400.0), ("7", 7.0), (".5s", 0.5)]
)
def test_budgets_are_times(text: str, seconds: float) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-3s", "0s", "1d", "3 s s", "nan", "1e3", "9" * 400])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="a budget is a time such as 90s"):
        parse_budget(text)


class Timed(ToyRecipe):
    """Steps of 0.1 s and evaluations of 1 s, on a clock of its own."""

    now = 0.0

    def step(self, batch: Any) -> dict[str, float]:
        self.now += 0.1
        return super().step(batch)

    def evaluate(self) -> dict[str, float]:
        self.now += 1.0
        return super().evaluate()


def test_a_budget_becomes_the_steps_that_fit() -> None:
    recipe = Timed(ToyConfig())
    steps = steps_within(100.0, recipe, eval_every=10, clock=lambda: recipe.now)
    # 1.1 s and 40 timed steps are gone, one last evaluation is reserved: 93.9 s of 0.2 s each
    assert steps == 460
    assert steps_within(0.001, recipe, eval_every=10, clock=lambda: recipe.now) == 1


# ---- environment


def test_an_environment_without_git_or_proc_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: Any, **__: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(environment_module, "_PACKAGE", tmp_path / "tinygen")
    monkeypatch.setattr(Path, "read_text", unreadable)
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    record = environment()
    assert record["git_commit"] is None
    assert record["threads"]["OMP_NUM_THREADS"] == "3"
    assert record["cpus"] >= 1
    assert isinstance(record["cpu"], str)


@pytest.mark.parametrize("status", ["", " M tinygen/a.py"])
def test_the_commit_of_a_checkout_tells_whether_it_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    def git(command: list[str], **_: Any) -> Any:
        output = "abc123\n" if command[1] == "rev-parse" else status
        return subprocess.CompletedProcess(command, 0, stdout=output)

    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(environment_module, "_PACKAGE", tmp_path / "tinygen")
    monkeypatch.setattr(subprocess, "run", git)
    assert environment()["git_commit"] == ("abc123+" if status else "abc123")


def test_a_broken_checkout_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(command: list[str], **_: Any) -> Any:
        raise subprocess.CalledProcessError(128, command)

    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(environment_module, "_PACKAGE", tmp_path / "tinygen")
    monkeypatch.setattr(subprocess, "run", git)
    assert environment()["git_commit"] is None


def test_the_environment_is_json_and_differences_are_told() -> None:
    record = environment()
    assert json.loads(json.dumps(record)) == record
    assert changes(record, record) == []
    assert changes({**record, "numpy": "1.0"}, record) == [f"numpy 1.0 -> {record['numpy']}"]
