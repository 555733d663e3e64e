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
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any, Self

from tinygen.checkpoints import State, load_state, save_state
from tinygen.errors import CheckpointError, InputError, OutputError, UsageError
from tinygen.files import (
    StrPath,
    atomic_folder,
    made_parents,
    output_errors,
    remove_empty,
    remove_leftovers,
    write_atomically,
)
from tinygen.training.recipe import RecipeConfig

_KEPT = 2
_REMOVED = "removed-"
_AGAIN = " --out again"
_MORE = "tinygen train --resume again --steps"


class Run:
    """An existing run folder. Only `create` and the methods that save change it."""

    def __init__(self, path: StrPath) -> None:
        """Open `path`. Raises InputError where it is no run."""
        self.path = Path(path)
        self._made: list[Path] | None = None
        with _reading(self.path):
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
        numbered: bool = False,
    ) -> Self:
        """Make the folder `path`, which must not exist; with `numbered` the first free one of
        `path`, `path-2`, ... Raises UsageError, OutputError.
        """
        while True:
            target = fresh_folder(path) if numbered else Path(path)
            require_new(target)
            try:
                with made_parents(target) as made, atomic_folder(target) as folder:
                    (folder / "config.json").write_bytes(_config_json(family, config))
                    (folder / "environment.json").write_bytes(_json(environment))
                    (folder / "command.txt").write_bytes(_lines([command]))
                    (folder / "checkpoints").mkdir()
            except OutputError:
                if os.path.lexists(target):
                    continue  # another process made it at this very moment
                raise
            run = cls(target)
            run._made = made
            return run

    def discard_unless_begun(self) -> None:
        """Remove a run that this process made and that has neither a log nor a checkpoint yet."""
        if self._made is None or self.steps():
            return
        with suppress(UsageError, FileNotFoundError), self.sole_writer():
            if self.metrics_path.exists() and self.metrics_path.stat().st_size:
                return
            shutil.rmtree(self.path)
            remove_empty(self._made)

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
            text = (self.path / "command.txt").read_bytes().decode(errors="surrogateescape")
        except OSError as error:
            raise InputError(f"cannot read {self.path / 'command.txt'}: {error}") from error
        return text.strip()

    @property
    def resume_command(self) -> str:
        return shlex.join(["tinygen", "train", "--resume", str(self.path)])

    def extend(self, config: RecipeConfig) -> None:
        """Give a run that has all its steps more of them: a second command joins the first.

        Together they reproduce the run, in a folder `again`: the schedule of learning rates changed
        where the first one ends. The configuration is written last; a line of command.txt that asks
        for more steps than it has is what a killed process left.
        """
        has, wants = self.config_values["training"]["steps"], config.training.steps
        first, _, others = self.command.partition("\n")
        first = first.removesuffix(_AGAIN) + _AGAIN
        found = re.findall(rf"^{_MORE} (\d+)$", others, re.MULTILINE)
        steps = [step for step in map(int, found) if step <= has] + [wants]
        write_atomically(
            self.path / "command.txt", _lines([first, *(f"{_MORE} {n}" for n in steps)])
        )
        write_atomically(self.path / "config.json", _config_json(self.family, config))

    # ---- checkpoints

    def checkpoint(self, step: int) -> Path:
        return self.path / "checkpoints" / f"step-{step:06d}"

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, in order, sound or not."""
        folder = self.path / "checkpoints"
        with _reading(folder):
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

        Raises CheckpointError where it is damaged, naming a sound one: nothing else is ever taken
        silently. InputError where that step has no checkpoint.
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
            raise CheckpointError(f"{error}. {self._sound_beside(step)}") from error

    def best_step(self) -> int | None:
        """The step with the best evaluation so far, by the newest checkpoint.

        None before the first checkpoint; the newest itself before the first evaluation. Its own
        checkpoint may be gone, where somebody removed a later one that was the best.
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

    def require_whole(self) -> None:
        """Raises InputError where log or checkpoints were removed: training would drop the rest."""
        lost = self.path / "checkpoints"
        if lost.is_dir() and self.steps():
            lost = self.metrics_path
        if not lost.exists():
            raise InputError(
                f"{lost} is missing; restore it, or make an empty one to continue without it"
            )

    def clean(self) -> None:
        """Remove what a killed process left unfinished. Only for the run's one writer."""
        folder = self.path / "checkpoints"
        with output_errors(folder):
            remove_leftovers(self.path)
            remove_leftovers(folder)
            for half_removed in folder.glob(f"{_REMOVED}*"):
                shutil.rmtree(half_removed)

    @contextmanager
    def named_errors(self) -> Iterator[None]:
        """A CheckpointError of the block says which run's checkpoint it is about."""
        try:
            yield
        except CheckpointError as error:
            raise CheckpointError(f"a checkpoint of {self.path}: {error}") from error

    def _sound_beside(self, step: int) -> str:
        """What to do about a damaged checkpoint: the newest sound one before it, or else after."""
        before = [other for other in self.steps() if other < step]
        after = [other for other in self.steps() if other > step]
        for other in [*reversed(before), *reversed(after)]:
            try:
                load_state(self.checkpoint(other))
            except CheckpointError:
                continue
            advice = f"take it with --step {other}"
            if not after:
                advice = f"remove {self.checkpoint(step)} to continue from it"
            return f"The checkpoint {self.checkpoint(other)} is sound: {advice}"
        return "No other checkpoint is sound: start the run again"

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


def require_new(path: StrPath) -> None:
    """Raises UsageError where a new run cannot be at `path`, since something is there."""
    if os.path.lexists(path):
        raise UsageError(
            f"{path} exists already; give --out another folder, or continue the run in it with "
            + shlex.join(["tinygen", "train", "--resume", str(path)])
        )


def fresh_folder(wanted: StrPath) -> Path:
    """`wanted`, or where that exists `wanted-2`, `wanted-3`, ..."""
    path, number = Path(wanted), 1
    while os.path.lexists(path):
        number += 1
        path = Path(f"{wanted}-{number}")
    return path


def default_folder(family: str, preset: str) -> Path:
    """Where a run without --out goes, numbered if that exists: runs/<date>-<family>-<preset>."""
    return Path("runs") / f"{date.today().isoformat()}-{family}-{preset}"


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"cannot read {path}: {reason}; check the path and its owner") from error


def _lines(commands: list[str]) -> bytes:
    """Surrogate escapes are the bytes of a path that is not UTF-8."""
    return "".join(f"{command}\n" for command in commands).encode(errors="surrogateescape")


def _config_json(family: str, config: RecipeConfig) -> bytes:
    return _json({"family": family, **config.to_dict()})


def _json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=2, allow_nan=False) + "\n").encode()
