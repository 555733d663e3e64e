"""`tinygen export`, and `tinygen sample` of what it wrote."""

import json
from pathlib import Path

import numpy as np
import pytest

from tinygen.cli.main import main
from tinygen.data.tokenizers import load_tokenizer
from tinygen.models.transformer import from_pretrained
from tinygen.recipes.pretrained import TOKENIZER

TEXT = "the quick brown fox jumps over the lazy dog\n" * 40
SMALL = [
    *("--model.n-layer", "1", "--model.n-head", "2", "--model.width", "16"),
    *("--model.block-size", "8", "--batch", "4", "--steps", "3", "--eval-every", "3"),
]


@pytest.fixture(params=["gpt", "llama"])
def family(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A family of which `run` is a run, and `model` its export."""
    (tmp_path / "text.txt").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    data = ["--data", "text.txt", "--tokenizer", "char"]
    assert main(["train", request.param, *data, *SMALL, "--out", "run"]) == 0
    assert main(["export", "run", "--out", "model"]) == 0
    return str(request.param)


def sampled(capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    capsys.readouterr()
    assert main(["sample", *options, "--seed", "1", "--json", "--tokens", "30"]) == 0
    found: list[str] = json.loads(capsys.readouterr().out)["samples"]
    return found


def test_an_exported_model_writes_what_its_run_writes(
    family: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = json.loads(Path("model", "config.json").read_text())
    assert settings["model_type"] == {"gpt": "gpt2", "llama": "llama"}[family]
    options = ("--prompt", "the ", "-n", "2")
    texts = sampled(capsys, "model", *options)
    assert texts == sampled(capsys, "run", *options)
    assert all(len(text) == 34 for text in texts)
    assert texts == sampled(capsys, "model", *options, "--device", "cpu")


def test_a_text_ends_with_the_folders_end(family: str, capsys: pytest.CaptureFixture[str]) -> None:
    (whole,) = sampled(capsys, "model", "--prompt", "the ")
    character = whole[10]
    end = int(load_tokenizer(f"model/{TOKENIZER}").encode(character)[0])
    path = Path("model", "config.json")
    for value in (end, [end, 0]):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": value}))
        (text,) = sampled(capsys, "model", "--prompt", "the ")
        assert whole.startswith(text)
        assert character not in text[4:]
        assert len(text) < 34


def test_what_cannot_be_is_told(family: str, capsys: pytest.CaptureFixture[str]) -> None:
    for code, arguments, message in [
        (4, ["export", "run", "--out", "model"], "exists already"),
        (3, ["export", "nowhere", "--out", "new"], "there is no run"),
        (2, ["export", "run"], "--out"),
        (2, ["sample", "model", "--step", "3"], "this folder holds one model"),
        (2, ["sample", "model", "--device", "abacus"], "abacus"),
        (3, ["sample", "run", "--step", "7"], "7"),
    ]:
        assert main(arguments) == code
        assert message in capsys.readouterr().err
    assert not Path("new").exists()
    Path("model", TOKENIZER).unlink()
    assert main(["sample", "model"]) == 3
    assert "no tokenizer.json" in capsys.readouterr().err


def test_only_decoders_are_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    run, out = str(tmp_path / "run"), tmp_path / "model"
    data = ["--data", str(tmp_path / "text.txt"), "--tokenizer", "byte"]
    assert main(["train", "masked", *data, *SMALL, "--out", run]) == 0
    assert main(["export", run, "--out", str(out)]) == 2
    assert "of the family masked; gpt and llama are exported" in capsys.readouterr().err
    assert not out.exists()
    assert main(["train", "llama", *data, *SMALL, "--out", str(tmp_path / "bytes")]) == 0
    assert main(["export", str(tmp_path / "bytes"), "--out", str(out)]) == 0
    (out / TOKENIZER).unlink()  # 256 tokens without a tokenizer are bytes
    assert main(["sample", str(out), "--tokens", "3"]) == 0
    assert from_pretrained(out)(np.zeros((1, 2), int)).shape == (1, 2, 256)
