"""`train --depth` and `train --estimate`."""

import json
from pathlib import Path

import pytest

from tinygen.cli.main import main

TEXT = "the quick brown fox jumps over the lazy dog\n" * 40


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (tmp_path / "text.txt").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    return ["--data", "text.txt", "--tokenizer", "byte", "--model.block-size", "8"]


@pytest.mark.parametrize("family", ["gpt", "llama"])
def test_what_is_given_goes_over_what_follows_from_the_depth(
    family: str, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--depth", "1", "--steps", "2", "--batch", "2", "--out", "run"]
    assert main(["train", family, *options, *more]) == 0
    config = json.loads(Path("run", "config.json").read_text())
    assert (config["model"]["n_layer"], config["model"]["width"]) == (1, 64)
    assert config["model"]["n_head"] == 1
    assert config["training"]["steps"] == 2
    # Half as wide as the preset, and 16 tokens a step where it has 768.
    assert config["optimizer"]["lr"] == pytest.approx(3e-3 * (2 * 16 / 768) ** 0.5, rel=0.02)
    told = capsys.readouterr().err
    assert "--model.width 64" in told  # the command that reproduces it needs no dial
    assert "parameters; " in told
    assert "GiB of memory" in told


def test_an_estimate_costs_nothing(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "gpt", *options, "--depth", "48", "--estimate", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["products"] == 12 * 48 * (48 * 64) ** 2 + 256 * 48 * 64
    assert main(["train", "gpt", *options, "--estimate"]) == 0
    parameters = 4 * (12 * 128**2 + 2 * 128) + (256 + 8 + 1) * 128
    assert capsys.readouterr().out.startswith(f"{parameters:,} parameters; ")
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "vae", "--depth", "2"], "--depth is not there for vae"),
        (["train", "vae", "--estimate"], "--estimate is not there for vae"),
        (["train", "gpt", "--depth", "0"], "depth is 0"),
        (["train", "gpt", "--depth", "two"], "--depth must be a whole number"),
        (["train", "--estimate"], "train needs a family"),
        (["train", "--resume", "run", "--depth", "2"], "--resume takes all from the run"),
    ],
)
def test_what_cannot_be_is_told(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
