"""Corners of the commands that need a changed world: run in this process, with parts replaced."""

import errno
import json
import shutil
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tinygen.cli.main import main
from tinygen.data.datasets import DATASETS
from tinygen.data.images.imageset import ImageSet
from tinygen.data.images.sources import EMBEDDED_IMAGES
from tinygen.data.sources import EMBEDDED
from tinygen.errors import InputError, UnavailableError
from tinygen.recipes.gpt import PRESETS, GPTRecipe


def test_the_demo_exits_0_or_6_by_its_gates_and_writes_one_offline_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nano = PRESETS["nano"]
    small = replace(nano, data=replace(nano.data, eval_tokens=200))
    monkeypatch.setitem(PRESETS, "nano", small)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(GPTRecipe, "baseline", lambda self: ("bigram", 100.0))
    assert main(["demo", "--only", "gpt", "--budget", "1s", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [gate["met"] for gate in result["gates"]] == [True]
    assert result["commands"]["gpt"].startswith("tinygen train gpt --preset nano")
    page = Path(result["report"]).read_text()
    assert "a GPT that writes" in page
    assert page.count("<svg") == 1
    assert "http" not in page
    monkeypatch.setattr(GPTRecipe, "baseline", lambda self: ("bigram", 0.0))
    assert main(["demo", "--only", "gpt", "--budget", "1s"]) == 6
    captured = capsys.readouterr()
    assert "missed" in captured.out
    assert "larger --budget" in captured.err
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert names == ["demo", "demo-2"]


@pytest.mark.parametrize("family", ["vae", "gan", "diffusion"])
def test_every_chapter_of_the_demo_has_its_figures_and_pictures(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two seconds teach little: the gates may be missed, and the page is whole all the same."""
    out = tmp_path / "demo"
    code = main(["demo", "--only", family, "--budget", "2s", "--json", "--out", str(out)])
    result = json.loads(capsys.readouterr().out)
    assert code == (0 if all(gate["met"] for gate in result["gates"]) else 6)
    page = (out / "index.html").read_text()
    pictures = {"vae": (1, 3), "gan": (2, 0), "diffusion": (1, 2)}
    assert (page.count("<svg"), page.count("<img")) == pictures[family]
    assert (out / family / "checkpoints").is_dir()
    assert main(["demo", "--only", family, "--out", str(out)]) == 2


def test_doctor_names_what_is_missing_and_the_cure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("tinygen.cli.doctor.metadata.version", missing)
    monkeypatch.setattr("tinygen.cli.doctor.util.find_spec", lambda name: None)
    monkeypatch.setattr("tinygen.cli.doctor._devices", list)  # CuPy's import asks find_spec
    monkeypatch.setattr("tinygen.cli.doctor.np.__version__", "2.0.1")
    monkeypatch.setattr("tinygen.cli.doctor.os.access", lambda path, mode: False)
    assert main(["doctor"]) == 6
    printed = capsys.readouterr().out
    for words in (
        "NumPy 2.0.1 is too old: pip install 'numpy>=2.1'",
        "Pillow is missing, which pictures need: pip install Pillow",
        "the current folder cannot be written",
        "6 findings",
    ):
        assert words in printed


def test_data_fetch_prints_where_the_file_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetch(name: str, *, offline: bool, progress: Any) -> Path:
        assert not offline
        if progress is not None:
            progress(5, 10)
            progress(10, 10)
        return Path("somewhere") / f"{name}.txt"

    monkeypatch.setattr("tinygen.cli.data.fetch", fetch)
    assert main(["data", "fetch", "tinyshakespeare"]) == 0
    path = str(Path("somewhere") / "tinyshakespeare.txt")
    captured = capsys.readouterr()
    about = DATASETS["tinyshakespeare"]
    assert captured.out == f"{path}\n"
    assert captured.err == f"{about.origin}\nlicence: {about.licence}\n"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(["data", "fetch", "tinyshakespeare", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"name": "tinyshakespeare", "path": path}
    assert captured.err.endswith("\n\r 50.0%\r100.0%\n")


def test_data_fetch_offline_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("TINYGEN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("urllib.request.urlopen", lambda *_: pytest.fail("the network was asked"))
    assert main(["data", "fetch", "mnist", "--offline"]) == 4
    printed = capsys.readouterr()
    assert "licence: CC BY-SA 3.0" in printed.err
    assert "it is not here, and offline" in printed.err
    assert "put https://" in printed.err
    assert list(tmp_path.iterdir()) == []


def no_glyphs() -> ImageSet:
    raise UnavailableError("glyphs need Pillow: pip install pillow")


def test_data_list_tells_what_is_here_and_what_is_damaged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tinygen.cli.data.EMBEDDED", {"docs": EMBEDDED["docs"]})
    images = {"digits": EMBEDDED_IMAGES["digits"], "glyphs": no_glyphs}
    monkeypatch.setattr("tinygen.cli.data.EMBEDDED_IMAGES", images)
    for found, words in ((Path("here.txt"), "here.txt"), (None, "tinygen data fetch")):
        monkeypatch.setattr("tinygen.cli.data.find", lambda name, found=found: found)
        assert main(["data", "list"]) == 0
        printed = capsys.readouterr().out
        for expected in (words, "1,797 images 8x8x1", "glyphs", "pip install pillow"):
            assert expected in printed

    def damaged(name: str) -> Path:
        raise InputError(f"{name} is not the original")

    monkeypatch.setattr("tinygen.cli.data.find", damaged)
    assert main(["data", "list"]) == 0
    assert f"damaged: {next(iter(DATASETS))} is not the original" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "tinygen: interrupted"),
        (OSError(errno.ENOSPC, "No space left on device"), 4, "free some space"),
        (OSError(errno.EIO, "Input/output error"), 1, "internal error"),
    ],
)
def test_errors_of_the_system_have_codes_too(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    words: str,
) -> None:
    def failing() -> None:
        raise error

    monkeypatch.setattr("tinygen.cli.doctor.environment", failing)
    assert main(["--debug", "doctor"]) == code
    captured = capsys.readouterr().err
    assert words in captured
    assert "Traceback" in captured


def test_resuming_tells_what_stands_against_it(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--resume", "run", "--steps", "3"]) == 2
    assert "run is at step 6 already; give --steps more than that" in capsys.readouterr().err
    record = json.loads((run / "environment.json").read_text())
    (run / "environment.json").write_text(json.dumps({**record, "numpy": "1.0"}))
    assert main(["train", "--resume", "run", "--steps", "7"]) == 0
    assert "not the same numbers as without a break, perhaps: numpy 1.0 ->" in (
        capsys.readouterr().err
    )


def test_a_config_of_another_family_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text('{"family": "vae"}')
    assert main(["train", "gpt", "--config", str(tmp_path / "config.json")]) == 2
    assert "is for the family 'vae', not 'gpt'" in capsys.readouterr().err


def test_a_run_without_a_checkpoint_cannot_be_sampled(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    assert main(["sample", str(tmp_path / "run")]) == 3
    assert "has no checkpoint yet; train it: tinygen train --resume" in capsys.readouterr().err


def test_a_diverged_run_without_debug_says_how_to_find_the_op(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", str(trained / "config.json"), "--optimizer.warmup", "0"]
    arguments = [*config, "--lr", "1e30", "--out", str(tmp_path / "run")]
    assert main(["train", "gpt", *arguments]) == 5
    assert "--debug names the first op" in capsys.readouterr().err
