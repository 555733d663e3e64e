"""The run folder: what a run was asked to do, where it ran, its log and its checkpoints.

    config.json  environment.json  command.txt  metrics.jsonl
    checkpoints/step-000250/  model.safetensors  optimizer.safetensors  state.json

The folder appears whole, and so does each checkpoint; a process killed at any moment leaves a run
that can be opened. Kept are the last two checkpoints and the best.
"""

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Self

from tinygen.checkpoints import State, load_state, save_state
from tinygen.errors import CheckpointError, InputError, UsageError
from tinygen.files import (
    StrPath,
    atomic_folder,
    output_errors,
    remove_leftovers,
    write_atomically,
)
from tinygen.training.recipe import RecipeConfig

_KEPT = 2
_REMOVED = "removed-"


class Run:
    """An existing run folder. Only `create` and the methods that save change it."""

    def __init__(self, path: StrPath) -> None:
        """Open `path`. Raises InputError where it is no run."""
        self.path = Path(path)
        if not self.path.is_dir():
            raise InputError(f"there is no run {path}; check the path")
        values = self._read_json("config.json")
        self.family = str(values.pop("family", None))
        self.config_values = values

    @classmethod
    def create(
        cls,
        path: StrPath,
        family: str,
        config: RecipeConfig,
        *,
        command: str,
        environment: Mapping[str, Any],
    ) -> Self:
        """Make the folder `path`, which must not exist. Raises UsageError, OutputError."""
        path = Path(path)
        if os.path.lexists(path):
            raise UsageError(
                f"{path} exists already; give --out another folder, or continue the run in it "
                f"with tinygen train --resume {path}"
            )
        with output_errors(path):
            path.absolute().parent.mkdir(parents=True, exist_ok=True)
        with atomic_folder(path) as folder:
            (folder / "config.json").write_bytes(_config_json(family, config))
            (folder / "environment.json").write_bytes(_json(environment))
            (folder / "command.txt").write_text(command + "\n", encoding="utf-8")
            (folder / "checkpoints").mkdir()
        return cls(path)

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def environment(self) -> dict[str, Any]:
        return self._read_json("environment.json")

    @property
    def command(self) -> str:
        """The command line, or lines, that reproduce the run."""
        try:
            return (self.path / "command.txt").read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read {self.path / 'command.txt'}: {error}") from error

    @property
    def resume_command(self) -> str:
        return shlex.join(["tinygen", "train", "--resume", str(self.path)])

    def extend(self, config: RecipeConfig, command: str) -> None:
        """Continue with another configuration: a second command joins the first."""
        write_atomically(self.path / "config.json", _config_json(self.family, config))
        commands = f"{self.command}\n{command}\n"
        write_atomically(self.path / "command.txt", commands.encode())

    # ---- checkpoints

    def checkpoint(self, step: int) -> Path:
        return self.path / "checkpoints" / f"step-{step:06d}"

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, in order, sound or not."""
        folder = self.path / "checkpoints"
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        return sorted(int(match[1]) for n in names if (match := re.fullmatch(r"step-(\d{6,})", n)))

    def save(self, step: int, state: State, *, best: int) -> None:
        """Write a checkpoint, then `prune`."""
        save_state(self.checkpoint(step), state)
        self.prune(best)

    def prune(self, best: int) -> None:
        """Drop all checkpoints but the last two and the step `best`."""
        for old in self.steps()[:-_KEPT]:
            if old != best:
                self._remove(self.checkpoint(old))

    def load(self, step: int | None = None) -> State | None:
        """The state of checkpoint `step`, by default the newest; None where there is none yet.

        Raises CheckpointError where it is damaged, naming the newest sound one before it: nothing
        older is ever taken silently. InputError where that step has no checkpoint.
        """
        steps = self.steps()
        if step is None and not steps:
            return None
        step = steps[-1] if step is None else step
        if step not in steps:
            known = ", ".join(map(str, steps)) or "none"
            raise InputError(f"{self.path} has no checkpoint of step {step}; it has {known}")
        try:
            return load_state(self.checkpoint(step))
        except CheckpointError as error:
            raise CheckpointError(f"{error}. {self._sound_before(step)}") from error

    def best_step(self) -> int | None:
        """The step with the lowest validation loss so far, by the newest checkpoint.

        None before the first checkpoint; the newest itself before the first evaluation.
        """
        state = self.load()
        return (state["loop"]["best_step"] or self.steps()[-1]) if state else None

    @contextmanager
    def sole_writer(self) -> Iterator[None]:
        """Inside, no other process can train this run. Raises UsageError where one does."""
        if sys.platform == "win32":
            yield
            return
        import fcntl

        folder = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)  # dies with the process
            except BlockingIOError as error:
                raise UsageError(
                    f"{self.path} is being trained by another process; wait for it, or stop it"
                ) from error
            yield
        finally:
            os.close(folder)

    def clean(self) -> None:
        """Remove what a killed process left unfinished. Only for the run's one writer."""
        folder = self.path / "checkpoints"
        with output_errors(folder):
            folder.mkdir(exist_ok=True)
            remove_leftovers(self.path)
            remove_leftovers(folder)
            for half_removed in folder.glob(f"{_REMOVED}*"):
                shutil.rmtree(half_removed)

    def _sound_before(self, step: int) -> str:
        for older in reversed([s for s in self.steps() if s < step]):
            try:
                load_state(self.checkpoint(older))
            except CheckpointError:
                continue
            return (
                f"The checkpoint {self.checkpoint(older)} is sound: "
                f"remove {self.checkpoint(step)} to continue from it"
            )
        return "No older checkpoint is sound: start the run again"

    def _remove(self, folder: Path) -> None:
        """Renamed first: a process killed half way leaves no half checkpoint behind."""
        with output_errors(folder):
            shutil.rmtree(folder.rename(folder.with_name(_REMOVED + folder.name)))

    def _read_json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            values = json.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise InputError(f"{self.path} is no run: it has no {name}; check the path") from error
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"cannot read {path}: {error}") from error
        if not isinstance(values, dict):
            raise InputError(f"{path} is damaged: it holds no JSON object; restore it")
        return values


def fresh_folder(wanted: StrPath) -> Path:
    """`wanted`, or where that exists `wanted-2`, `wanted-3`, ..."""
    path, number = Path(wanted), 1
    while os.path.lexists(path):
        number += 1
        path = Path(f"{wanted}-{number}")
    return path


def default_folder(family: str, preset: str) -> Path:
    """A new folder for a run without --out: runs/<date>-<family>-<preset>."""
    return fresh_folder(Path("runs") / f"{date.today().isoformat()}-{family}-{preset}")


def _config_json(family: str, config: RecipeConfig) -> bytes:
    return _json({"family": family, **config.to_dict()})


def _json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=2, allow_nan=False) + "\n").encode()
