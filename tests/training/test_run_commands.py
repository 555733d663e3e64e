"""`train`, `sample` and `eval` of the toy family, above all when something goes wrong."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy

from tinygen.checkpoints import load_state, save_state
from tinygen.cli import saved
from tinygen.cli.main import main
from tinygen.recipes import FAMILIES
from tinygen.training.run import Run

Fails = Callable[..., str]


@pytest.fixture(autouse=True)
def only_the_toy_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        for name in list(FAMILIES):
            patch.delitem(FAMILIES, name)
        patch.setitem(FAMILIES, "toy", "toy")
        patch.chdir(tmp_path)
        yield


def use(monkeypatch: pytest.MonkeyPatch, recipe: type[toy.ToyRecipe]) -> None:
    monkeypatch.setattr("toy.FAMILY", replace(toy.FAMILY, build=recipe))


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Fails:
    def run(code: int, *arguments: str) -> str:
        capsys.readouterr()
        assert main(arguments) == code, capsys.readouterr().err
        return capsys.readouterr().err.splitlines()[-1]

    return run


def train(*arguments: str, out: str = "run") -> Run:
    assert main(["train", "toy", "--out", out, *arguments]) == 0
    return Run(out)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def everything(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


# ---- more steps


def test_extended_runs_are_reproduced_by_their_commands(tmp_path: Path) -> None:
    run = train("--steps", "12")
    for steps in ("20", "31"):
        assert main(["train", "--resume", "run", "--steps", steps]) == 0
    commands = Run("run").command.splitlines()
    assert len(commands) == 3
    for line in commands:
        assert main(line.split()[1:]) == 0
    assert Path("again/metrics.jsonl").read_bytes() == run.metrics_path.read_bytes()
    assert Run("again").command.splitlines()[1:] == commands[1:]


class Stopping(toy.ToyRecipe):
    """Gets a SIGTERM in its seventh step."""

    def step(self, batch: Any) -> dict[str, float]:
        if self.steps_done == 6:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().step(batch)


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")
def test_only_a_complete_run_gets_other_steps(
    fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        use(patch, Stopping)
        assert "interrupted at step 7 of 20, and saved" in fails(
            130, "train", "toy", "--steps", "20", "--out", "run"
        )
    before = contents(Path("run"))
    for steps in ("10", "40"):
        sentence = fails(2, "train", "--resume", "run", "--steps", steps)
        assert f"run is at step 7 of 20, and --steps {steps} would bend its schedule" in sentence
        assert contents(Path("run")) == before
    assert main(["train", "--resume", "run", "--steps", "20"]) == 0
    assert "is at step 20 already" in fails(2, "train", "--resume", "run", "--steps", "10")
    assert main(["train", "--resume", "run", "--steps", "40"]) == 0


def test_a_resume_that_fails_changes_nothing(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train("--steps", "10")
    resume = ["train", "--resume", "run", "--steps", "20"]
    unfinished = run.path / "checkpoints" / ".00ff.tinygen-unfinished"
    unfinished.mkdir()
    before = contents(run.path)
    with run.sole_writer():
        assert "is being trained by another process" in fails(2, *resume)
    assert unfinished.exists()  # it may be what the other process is writing
    with monkeypatch.context() as patch:
        patch.setattr("toy.ToyRecipe.load_state_dict", refuse)
        fails(3, *resume)
    assert contents(run.path) == before
    newest = run.checkpoint(10) / "model.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    damaged = contents(run.path)
    fails(3, *resume)
    assert contents(run.path) == damaged


def refuse(self: toy.ToyRecipe, state: Any) -> None:
    from tinygen.errors import InputError

    raise InputError("other data")


def test_a_command_that_a_killed_process_added_is_dropped() -> None:
    run = train("--steps", "10")
    command = run.path / "command.txt"
    command.write_text(
        command.read_text().strip() + " --out again\ntinygen train --resume again --steps 15\n"
    )
    assert main(["train", "--resume", "run", "--steps", "20"]) == 0
    assert [line.split()[-1] for line in Run("run").command.splitlines()] == ["again", "20"]


# ---- checkpoints that are gone, damaged or not finite


def test_the_newest_serves_where_the_best_was_removed(capsys: pytest.CaptureFixture[str]) -> None:
    run = train("--eval-every", "30", "--save-every", "5")
    shutil.rmtree(run.checkpoint(30))
    state = load_state(run.checkpoint(25))
    shutil.rmtree(run.checkpoint(25))
    save_state(run.checkpoint(25), {**state, "loop": {**state["loop"], "best_step": 15}})
    for command in ("sample", "eval"):
        assert main([command, "run"]) == 0
        assert "of step 15, was removed; the newest serves instead" in capsys.readouterr().err
    assert main(["train", "--resume", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["best_step"] == 30


def test_a_damaged_older_checkpoint_names_the_sound_newer_one(fails: Fails) -> None:
    run = train()
    (run.checkpoint(25) / "state.json").write_bytes(b"{}")
    sentence = fails(3, "sample", "run", "--step", "25")
    assert f"{run.checkpoint(30)} is sound: take it with --step 30" in sentence


def test_a_model_that_is_not_finite_exits_5(
    fails: Fails, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train()
    state = load_state(run.checkpoint(30))
    shutil.rmtree(run.checkpoint(30))
    bad = {**state, "model": {"weight": np.full_like(state["model"]["weight"], np.nan)}}
    save_state(run.checkpoint(30), bad)
    for command in (["sample"], ["eval"], ["eval", "--json"]):
        assert "model/weight holds values that are not finite" in fails(5, *command, "run")


def test_an_evaluation_that_is_not_finite_exits_5(
    fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    train()
    monkeypatch.setattr("toy.ToyRecipe.evaluate", lambda self: {"val_loss": float("nan")})
    assert "val_loss of run at step 30 is nan: its training diverged" in fails(5, "eval", "run")


def test_sampling_looks_again_when_training_pruned_what_it_chose(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = train()
    real, calls = Run.load, []

    def load(self: Run, step: int | None = None) -> Any:
        calls.append(step)
        if len(calls) == 2:  # between the look at the newest and the best
            shutil.copytree(run.checkpoint(30), run.checkpoint(31))
            shutil.rmtree(run.checkpoint(30))
        return real(self, step)

    monkeypatch.setattr(Run, "load", load)
    assert saved.trained_state(run, None)["steps_done"] == 30
    assert len(calls) > 2


def test_lost_halves_of_a_run_are_not_replaced_silently(fails: Fails) -> None:
    run = train("--steps", "10")
    log = run.metrics_path.read_bytes()
    run.metrics_path.unlink()
    resume = ["train", "--resume", "run", "--steps", "20"]
    assert "metrics.jsonl is missing; restore it, or make an empty one" in fails(3, *resume)
    run.metrics_path.write_bytes(log)
    shutil.rmtree(run.path / "checkpoints")
    assert "checkpoints is missing; restore it" in fails(3, "train", "--resume", "run")
    assert run.metrics_path.read_bytes() == log


def test_a_damaged_configuration_of_a_run_is_bad_input(fails: Fails) -> None:
    run = train()
    config = json.loads((run.path / "config.json").read_text())
    for change in ({"model": {"width": 0}}, {"family": "tyo"}, {"data": {}}):
        (run.path / "config.json").write_text(json.dumps({**config, **change}))
        for command in (["sample", "run"], ["eval", "run"], ["train", "--resume", "run"]):
            assert "config.json" in fails(3, *command)


def test_a_checkpoint_of_another_model_names_the_run(fails: Fails) -> None:
    run = train()
    config = run.path / "config.json"
    config.write_text(config.read_text().replace('"width": 8', '"width": 9'))
    for command in (["sample", "run"], ["eval", "run"], ["train", "--resume", "run"]):
        sentence = fails(3, *command)
        assert "a checkpoint of run: the weight has another shape" in sentence


# ---- what is left behind


class OutOfMemory(toy.ToyRecipe):
    def step(self, batch: Any) -> dict[str, float]:
        raise MemoryError("Unable to allocate 9.09 TiB")


class Interrupting(toy.ToyRecipe):
    """Ctrl-C twice, in one step."""

    at = 0

    def step(self, batch: Any) -> dict[str, float]:
        if self.steps_done == self.at:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
        return super().step(batch)


class InterruptingLater(Interrupting):
    at = 12


def test_a_run_that_fails_in_its_first_step_leaves_no_folder(
    fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, OutOfMemory)
    for out in (["--out", "new/folder/run"], ["--out", "run"], []):
        assert "not enough memory" in fails(4, "train", "toy", *out)
        assert everything(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")
def test_a_second_interrupt_says_what_was_saved(
    fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Interrupting)
    sentence = fails(130, "train", "toy", "--out", "run")
    assert "before the first checkpoint: nothing was saved" in sentence
    assert everything(tmp_path) == []
    use(monkeypatch, InterruptingLater)
    sentence = fails(130, "train", "toy", "--out", "run")
    assert "interrupted at once; saved is step 10, continue from there with tinygen" in sentence


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")
def test_a_sigterm_outside_of_training_tidies_up(
    fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("tinygen.training.run._config_json", killed)
    assert fails(130, "train", "toy", "--out", "new/run") == "tinygen: interrupted"
    assert everything(tmp_path) == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_runs_that_start_at_the_same_moment_get_folders_of_their_own(
    fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process makes the folder after this one saw that it is free."""
    real: Any = os.rename
    times = 0

    def rename(source: Any, target: Any) -> None:
        nonlocal times
        times += 1
        if times == 1:
            shutil.copytree(source, target)
        real(source, target)

    monkeypatch.setattr("tinygen.files.os.rename", rename)
    assert main(["train", "toy"]) == 0
    first, second = sorted(Path("runs").iterdir())
    assert second.name == f"{first.name}-2"
    times = 0
    assert "run exists already; give --out another" in fails(2, "train", "toy", "--out", "run")


def test_targets_are_looked_at_before_the_work(
    fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train()
    (tmp_path / "file").write_text("")
    before = everything(tmp_path)
    work: list[Any] = []
    monkeypatch.setattr("tinygen.cli.train.within_budget", lambda *_: work.append(1))
    monkeypatch.setattr("tinygen.cli.sample.trained_state", lambda *_: work.append(1))
    budget = ["train", "toy", "--budget", "90s", "--out"]
    assert "run exists already" in fails(2, *budget, "run")
    assert "cannot write file/run: not a directory" in fails(4, *budget, "file/run")
    assert "make the folder first" in fails(4, "sample", "run", "--out", "nowhere/s.txt")
    assert "correct the path" in fails(4, "sample", "run", "--out", "file/s.txt")
    assert not work
    assert everything(tmp_path) == before


# ---- settings


def test_the_command_line_mends_a_configuration_file(fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text("[model]\nwidth = 0\nnoise = -1.0\n")
    arguments = ["train", "toy", "--config", "f.toml", "--model.width", "4", "--out", "run"]
    assert "f.toml: model.noise must be at least 0.0" in fails(2, *arguments)
    assert main([*arguments, "--model.noise", "0.5"]) == 0
    assert Run("run").config_values["model"]["width"] == 4


def test_another_criterion_tells_the_best_checkpoint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Distances(toy.ToyRecipe):
        criterion = "distance"

        def evaluate(self) -> dict[str, float]:
            return {"val_loss": 1 / self.steps_done, "distance": abs(self.steps_done - 10) + 1.0}

    use(monkeypatch, Distances)
    assert main(["train", "toy", "--out", "run"]) == 0
    assert "distance 21.0000 after the last step, 1.0000 at its best (step 10)" in (
        capsys.readouterr().out
    )
    assert Run("run").best_step() == 10


def test_the_help_lists_the_presets_and_a_path_is_quoted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", "--help"]) == 0
    assert "(toy: plain)" in " ".join(capsys.readouterr().out.split())
    train(out="a run")
    assert "next: tinygen sample 'a run'" in capsys.readouterr().out
