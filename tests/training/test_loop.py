"""The loop on the toy family: resumed runs, what is kept, how it stops."""

import errno
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import ToyConfig, ToyRecipe

from tinygen.errors import (
    CheckpointError,
    DivergedError,
    InputError,
    Interrupted,
    OutputError,
    UsageError,
)
from tinygen.training.loop import train
from tinygen.training.metrics import read_metrics
from tinygen.training.run import Run, fresh_folder

CONFIG = ToyConfig()


class Silent:
    """A progress that asks to stop after step `stop`."""

    def __init__(self, stop: float = math.inf) -> None:
        self.stop, self.step = stop, 0
        self.told: list[str] = []

    def update(self, step: int, metrics: Any) -> None:
        self.step = step

    def tell(self, sentence: str) -> None:
        self.told.append(sentence)

    def close(self) -> None:
        pass

    def stop_requested(self) -> bool:
        return self.step >= self.stop


def configured(**settings: Any) -> ToyConfig:
    return replace(CONFIG, training=replace(CONFIG.training, **settings))


def new_run(path: Path, config: ToyConfig = CONFIG) -> Run:
    return Run.create(path, "toy", config, command="tinygen train toy", environment={})


def go(run: Run, config: ToyConfig = CONFIG, stop: float = math.inf) -> ToyRecipe:
    recipe, progress = ToyRecipe(config), Silent(stop)
    train(recipe, config.training, run, progress=progress, stop_requested=progress.stop_requested)
    return recipe


def trace(run: Run) -> list[dict[str, Any]]:
    return read_metrics(run.metrics_path)


def test_a_run_stopped_at_any_step_resumes_to_the_same_bits(tmp_path: Path) -> None:
    straight = new_run(tmp_path / "straight")
    expected = go(straight)
    for stop in range(1, CONFIG.training.steps, 2):
        run = new_run(tmp_path / str(stop))
        with pytest.raises(Interrupted, match=f"step {stop} of 30, and saved; .*--resume"):
            go(run, stop=stop)
        recipe = go(run)
        assert run.metrics_path.read_bytes() == straight.metrics_path.read_bytes()
        assert np.array_equal(recipe.weight, expected.weight)


def test_a_run_stopped_after_every_single_step_is_the_same_too(tmp_path: Path) -> None:
    straight, run = new_run(tmp_path / "straight"), new_run(tmp_path / "run")
    go(straight)
    for stop in range(1, CONFIG.training.steps):
        with pytest.raises(Interrupted):
            go(run, stop=stop)
    go(run)
    assert trace(run) == trace(straight)


def test_the_last_two_checkpoints_and_the_best_are_kept(tmp_path: Path) -> None:
    class Worse(ToyRecipe):
        def evaluate(self) -> dict[str, float]:
            return {"val_loss": abs(self.steps_done - 20) + 1.0}

    run = new_run(tmp_path / "run", configured(steps=60))
    metrics = train(Worse(CONFIG), configured(steps=60).training, run, progress=Silent())
    assert run.steps() == [20, 55, 60]
    assert run.best_step() == 20
    assert (metrics["best_step"], metrics["best_val_loss"]) == (20, 1.0)
    assert [line["step"] for line in trace(run) if "val_loss" in line] == [10, 20, 30, 40, 50, 60]


def test_a_finding_is_told_once_and_logged_each_time(tmp_path: Path) -> None:
    class Sinking(ToyRecipe):
        def findings(self) -> tuple[str, ...]:
            sunk = f"sinking: at {self.steps_done}"
            return (sunk, "leaking: much") if self.steps_done >= 20 else (sunk,)

    run, progress = new_run(tmp_path / "run"), Silent()
    train(Sinking(CONFIG), CONFIG.training, run, progress=progress)
    assert progress.told == ["step 10: sinking: at 10", "step 20: leaking: much"]
    logged = {line["step"]: line["findings"] for line in trace(run) if "findings" in line}
    leaking = {step: [f"sinking: at {step}", "leaking: much"] for step in (20, 30)}
    assert logged == {10: ["sinking: at 10"], **leaking}


def test_lines_beyond_the_checkpoint_are_dropped_on_resume(tmp_path: Path) -> None:
    straight, run = new_run(tmp_path / "straight"), new_run(tmp_path / "run")
    go(straight)
    with pytest.raises(Interrupted):
        go(run, stop=7)
    with run.metrics_path.open("ab") as file:  # as a killed process leaves it
        file.write(b'{"step": 8, "loss": 1.0}\n{"step": 9, "lo')
    go(run)
    assert trace(run) == trace(straight)


def test_divergence_is_an_error_and_the_good_checkpoint_stays(tmp_path: Path) -> None:
    config = replace(CONFIG, optimizer=replace(CONFIG.optimizer, lr=1e4))
    run = new_run(tmp_path / "run", config)
    with pytest.raises(DivergedError, match=r"loss became (inf|nan) at step \d+.*step-000005"):
        go(run, config)
    state = run.load()
    assert state is not None
    assert np.isfinite(state["model"]["weight"]).all()
    assert all(math.isfinite(line["loss"]) for line in trace(run))


def test_a_damaged_newest_checkpoint_names_the_good_older_one(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    go(run)
    newest, older = run.checkpoint(30), run.checkpoint(25)
    flip(newest / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        go(run)
    assert f"{newest / 'model.safetensors'} is damaged" in str(caught.value)
    assert f"The checkpoint {older} is sound: remove {newest}" in str(caught.value)
    flip(older / "state.json")
    with pytest.raises(CheckpointError, match="No other checkpoint is sound"):
        go(run)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    go(run)
    other = replace(CONFIG, model=replace(CONFIG.model, width=9))
    with pytest.raises(CheckpointError, match="the weight has another shape"):
        go(run, other)


def test_leftovers_of_a_killed_process_disappear(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    for name in (".00ff.tinygen-unfinished", "removed-step-000005"):
        (run.path / "checkpoints" / name).mkdir()
        (run.path / "checkpoints" / name / "model.safetensors").write_bytes(b"half")
    go(run)
    names = sorted(entry.name for entry in (run.path / "checkpoints").iterdir())
    assert names == ["step-000025", "step-000030"]


@pytest.mark.parametrize("number", [0, 1, 2, 3, 7, 20])
def test_a_disk_that_fills_up_ends_the_run_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The disk refuses all writes from the n-th fsync on; with room again, the run goes on."""
    straight, run = new_run(tmp_path / "straight"), new_run(tmp_path / "run")
    go(straight)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full_after(number))
        with pytest.raises(OutputError, match="no space left on device; free some space"):
            go(run)
    for step in run.steps():
        assert run.load(step) is not None
    assert list((run.path / "checkpoints").glob(".*")) == []
    go(run)
    assert trace(run) == trace(straight)


def full_after(number: int) -> Callable[[int], None]:
    left = number

    def fsync(descriptor: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    return fsync


def test_two_processes_never_train_one_run(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    with run.sole_writer(), pytest.raises(UsageError, match="trained by another process"):
        go(run)
    go(run)


def test_a_run_opens_only_where_there_is_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no run"):
        Run(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"it has no config\.json"):
        Run(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(InputError, match="holds no JSON object"):
        Run(tmp_path)
    (tmp_path / "config.json").write_text('{"family": ')
    with pytest.raises(InputError, match="cannot read"):
        Run(tmp_path)


def test_an_existing_folder_is_never_written(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(UsageError, match="exists already; give --out another"):
        new_run(tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        new_run(tmp_path / "file" / "run")
    assert fresh_folder(tmp_path / "run") == tmp_path / "run-2"
    assert fresh_folder(tmp_path / "other") == tmp_path / "other"


def test_a_run_without_its_command_says_so(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    (run.path / "command.txt").unlink()
    with pytest.raises(InputError, match="cannot read"):
        run.extend(CONFIG)


def test_a_system_without_locks_trains_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    run = new_run(tmp_path / "run")
    go(run)
    assert run.steps() == [25, 30]


def test_a_step_without_a_checkpoint_lists_those_that_have_one(tmp_path: Path) -> None:
    run = new_run(tmp_path / "run")
    assert run.load() is None
    assert run.best_step() is None
    go(run)
    with pytest.raises(InputError, match="no checkpoint of step 3; it has 25, 30"):
        run.load(3)
