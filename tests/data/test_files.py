"""Writing is all or nothing, whatever goes wrong at whatever step."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinygen.errors import OutputError
from tinygen.files import atomic_folder, output_errors, remove_leftovers, write_atomically


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def failing(code: int):
    def call(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    return call


def test_a_new_file_and_a_replaced_one(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, b"one")
    write_atomically(str(path), b"two")
    assert contents(tmp_path) == {"a.json": b"two"}


def test_a_name_of_the_greatest_legal_length(tmp_path):
    name = "n" * 255
    write_atomically(tmp_path / name, b"x")
    assert contents(tmp_path) == {name: b"x"}


def test_a_file_gets_the_permissions_that_any_new_file_gets(tmp_path):
    (tmp_path / "plain").touch()
    write_atomically(tmp_path / "atomic", b"")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real" / "file")
    write_atomically(link, b"x")
    assert link.is_symlink()
    assert (tmp_path / "real" / "file").read_bytes() == b"x"


@pytest.mark.parametrize("step", ["os.fsync", "os.replace"])
@pytest.mark.parametrize(
    ("code", "advice"), [(errno.ENOSPC, "free some space"), (errno.EACCES, "may write to")]
)
def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, step, code, advice):
    path = tmp_path / "a"
    write_atomically(path, b"old")
    monkeypatch.setattr(step, failing(code))
    with pytest.raises(OutputError, match=advice) as raised:
        write_atomically(path, b"new")
    assert raised.value.exit_code == 4
    assert str(path) in str(raised.value)
    assert contents(tmp_path) == {"a": b"old"}


def test_an_interrupt_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_atomically(path, b"old")

    def interrupted(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert contents(tmp_path) == {"a": b"old"}


def test_places_where_no_file_can_be(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(OutputError, match="make the folder first"):
        write_atomically(tmp_path / "missing" / "a", b"")
    with pytest.raises(OutputError, match="a part of it is a file"):
        write_atomically(tmp_path / "file" / "a", b"")
    with pytest.raises(OutputError, match="no ordinary file"):
        write_atomically(tmp_path, b"")
    with pytest.raises(OutputError, match="no ordinary file"):
        write_atomically(os.devnull, b"")
    assert contents(tmp_path) == {"file": b"x"}


def test_a_folder_appears_whole(tmp_path):
    with atomic_folder(tmp_path / "run") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "a").write_bytes(b"1")
        (folder / "b").write_bytes(b"2")
        assert not (tmp_path / "run").exists()
    assert contents(tmp_path) == {"run/inner/a": b"1", "run/b": b"2"}


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (ZeroDivisionError(), ZeroDivisionError),
        (OSError(errno.ENOSPC, "No space left on device"), OutputError),
    ],
)
def test_a_folder_whose_filling_fails_never_appears(tmp_path, raised, expected):
    def fill() -> None:
        with atomic_folder(tmp_path / "run") as folder:
            (folder / "a").write_bytes(b"1")
            raise raised

    with pytest.raises(expected):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_not_touched(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(OutputError, match="exists already"), atomic_folder(tmp_path / "run"):
        pytest.fail("the block must not run")
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]


def test_an_error_of_ours_passes_unchanged(tmp_path):
    ours = OutputError("ours")
    with pytest.raises(OutputError) as raised, output_errors(tmp_path):
        raise ours
    assert raised.value is ours


def test_what_a_killed_writer_left_is_removed(tmp_path):
    killed = """
import os, sys
from tinygen.files import atomic_folder, write_atomically
os.fsync = lambda descriptor: os._exit(9)
if sys.argv[2] == "file":
    write_atomically(sys.argv[1], b"new")
else:
    with atomic_folder(sys.argv[1]) as folder:
        (folder / "part").write_bytes(b"new")
"""
    path = tmp_path / "a"
    path.write_bytes(b"old")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for target, kind in ((path, "file"), (tmp_path / "run", "folder")):
        command = [sys.executable, "-c", killed, str(target), kind]
        assert subprocess.run(command, env=environment).returncode == 9
    assert len(list(tmp_path.iterdir())) == 3
    assert path.read_bytes() == b"old"
    remove_leftovers(tmp_path)
    assert contents(tmp_path) == {"a": b"old"}
    assert list(tmp_path.iterdir()) == [path]
