"""tinygen tokenizer: trained, looked at, applied, and used by a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinygen.cli.main import main
from tinygen.data.tokenizers import BPETokenizer, load_tokenizer

TEXT = "the quick brown fox jumps over the lazy dog, and the dog sleeps on.\n" * 40


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(TEXT)


def learn(*more: str) -> int:
    return main(["tokenizer", "train", "text.txt", "--vocab-size", "290", *more])


def test_from_a_text_to_ids_and_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert learn("--out", "tokenizer.json", "--special", "<|end|>", "--json") == 0
    assert json.loads(capsys.readouterr().out)["vocab_size"] == 290
    assert main(["tokenizer", "encode", "tokenizer.json", "the dog"]) == 0
    ids = capsys.readouterr().out.split()
    assert ids == [str(i) for i in load_tokenizer("tokenizer.json").encode("the dog")]
    assert main(["tokenizer", "decode", "tokenizer.json", *ids, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"text": "the dog"}
    assert main(["tokenizer", "info", "tokenizer.json", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["merges"], found["special_tokens"]) == (33, {"<|end|>": 289})
    assert found["pattern"] == "cl100k"


def test_a_run_learns_its_tokens_or_takes_those_of_a_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert learn("--out", "tokenizer.json") == 0
    tiny = ["--model.n-layer", "1", "--model.width", "8", "--model.block-size", "8", "--steps", "2"]
    tiny += ["--model.n-head", "2", "--batch", "2", "--data", "text.txt"]
    for name, more in (
        ("learned", ["--tokenizer", "bpe", "--data.vocab-size", "280"]),
        ("given", ["--tokenizer", "./tokenizer.json"]),
    ):
        assert main(["train", "gpt", *tiny, *more, "--out", name]) == 0
        last = json.loads(Path(name, "metrics.jsonl").read_text().splitlines()[-1])
        assert 0 < last["bits_per_byte"] < last["val_loss"] / 0.6931
        capsys.readouterr()
    Path("tokenizer.json").unlink()  # a run has its own
    assert main(["sample", "given", "--prompt", "the dog", "--tokens", "3", "--seed", "1"]) == 0
    assert capsys.readouterr().out.startswith("the dog")


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ("train text.txt", 2, "needs --out PATH"),
        ("train", 2, "tokenizer train needs data"),
        ("train absent.txt --out x.json", 3, "absent.txt"),
        ("train text.txt --out text.txt", 4, "exists already"),
        ("train text.txt --vocab-size 9 --out x.json", 2, "vocab_size"),
        ("train text.txt --pattern ( --out x.json", 3, "no split pattern"),
        ("info absent.json", 3, "absent.json"),
        ("info text.txt", 3, "holds no tokenizer"),
        ("encode tokenizer.json", 2, "one text"),
        ("decode tokenizer.json one", 2, "takes ids"),
        ("decode tokenizer.json 290", 2, "id 290"),
        ("learn text.txt", 2, "learn"),
    ],
)
def test_bad_input(
    arguments: str, code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    BPETokenizer.train(TEXT, 290).save("tokenizer.json")
    assert main(["tokenizer", *arguments.split()]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in Path().iterdir()) == ["text.txt", "tokenizer.json"]


def test_a_gap_is_filled(capsys: pytest.CaptureFixture[str]) -> None:
    tiny = ["--model.n-layer", "1", "--model.width", "8", "--model.block-size", "32", "--steps"]
    tiny += ["2", "--model.n-head", "2", "--batch", "2", "--data", "text.txt", "--tokenizer", "bpe"]
    sizes = ["--data.vocab-size", "290", "--data.fim", "0.5"]
    assert main(["train", "gpt", *tiny, *sizes, "--out", "filling"]) == 0
    assert main(["train", "gpt", *tiny, "--data.vocab-size", "290", "--out", "plain"]) == 0
    capsys.readouterr()
    gap = ["--prompt", "the quick", "--suffix", "dog sleeps", "--tokens", "4", "--seed", "1"]
    assert main(["sample", "filling", *gap]) == 0
    out = capsys.readouterr().out
    assert out.startswith("the quick")
    assert out.endswith("dog sleeps\n")
    assert "<|fim" not in out
    assert main(["sample", "plain", *gap]) == 2
    assert "fill-in-the-middle needs a tokenizer" in capsys.readouterr().err
