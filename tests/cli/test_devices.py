"""--device: a run trains, goes on, writes and is judged on any device, and keeps the one it began
on. What recipes compute there is in tests/training/test_devices.py."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tinygen.cli.main import main

DEVICE = os.environ.get("TINYGEN_TEST_DEVICE", "sim")


def logged(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def agrees(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [line["step"] for line in found] == [line["step"] for line in expected]
    for mine, theirs in zip(found, expected, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)


@pytest.fixture(scope="module")
def there(trained: Path, tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`trained` once more, on the device."""
    run = tmp_path_factory.mktemp("device") / "run"
    data = ["--data", str(trained.parent / "text.txt"), "--tokenizer", "char"]
    options = [*data, *tiny, "--device", DEVICE, "--out", str(run)]
    assert main(["train", "gpt", *options]) == 0
    return run


def test_training_on_a_device_logs_what_the_cpu_does(there: Path, trained: Path) -> None:
    agrees(logged(there), logged(trained))
    assert f"--device {DEVICE}" in (there / "command.txt").read_text()
    assert json.loads((there / "config.json").read_text())["training"]["device"] == DEVICE


@pytest.mark.parametrize("begun", ["cpu", DEVICE])
def test_a_run_goes_on_where_it_is_told_to_and_stays_what_it_was(
    begun: str,
    there: Path,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained if begun == "cpu" else there, run)
    shutil.rmtree(run / "checkpoints" / "step-000006")
    other = DEVICE if begun == "cpu" else "cpu"
    before = [(run / name).read_bytes() for name in ("config.json", "command.txt")]
    assert main(["train", "--resume", str(run), "--device", other]) == 0
    assert f"device {begun} -> {other}" in capsys.readouterr().err
    assert [(run / name).read_bytes() for name in ("config.json", "command.txt")] == before
    agrees(logged(run), logged(trained))
    assert main(["train", "--resume", str(run), "--device", other, "--steps", "8"]) == 0
    assert (
        json.loads((run / "config.json").read_text())["training"] | {"steps": 6}
        == (json.loads(before[0])["training"])
    )


def test_a_trained_model_writes_and_is_judged_on_any_device(
    there: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts, losses = set(), []
    for run in (there, trained):
        for where in ([], ["--device", "cpu"], ["--device", DEVICE]):
            capsys.readouterr()
            assert main(["sample", str(run), "--tokens", "12", "--seed", "1", *where]) == 0
            texts.add(capsys.readouterr().out)
            assert main(["eval", str(run), "--json", *where]) == 0
            losses.append(json.loads(capsys.readouterr().out)["val_loss"])
    assert len(texts) == 1
    assert losses == pytest.approx([losses[0]] * 6, rel=1e-5)


def test_a_device_that_is_not_there_is_one_sentence(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = (["train", "--resume"], ["sample"], ["eval"])
    for command in commands:
        assert main([*command, str(trained), "--device", "cuda:99"]) == 4
        assert 'device "cuda:99" is not available' in capsys.readouterr().err.splitlines()[-1]
        assert main([*command, str(trained), "--device", "abacus"]) == 2
        assert "unknown device 'abacus'" in capsys.readouterr().err.splitlines()[-1]
