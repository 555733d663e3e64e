"""Bad input: one sentence on stderr, the documented exit code, nothing half-written."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygen.cli.main import main

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """`fails(code, "train", ...)` runs among files of all kinds and returns the sentence."""
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "binary.dat").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "latin.txt").write_bytes("déjà vu ".encode("latin-1") * 200)
    (tmp_path / "short.txt").write_text("too short")
    (tmp_path / "good.txt").write_text("a text that is long enough to train on. " * 50)
    (tmp_path / "lines.jsonl").write_text('{"text": "good"}\nnonsense\n')
    (tmp_path / "folder").mkdir()
    (tmp_path / "bad.toml").write_text("[model]\nn_layr = 3\n")
    (tmp_path / "impossible.toml").write_text("[model]\nn_layer = 0\n")
    (tmp_path / "odd.toml").write_text("training = 3\n")
    (tmp_path / "broken.toml").write_text("[model\n")
    monkeypatch.chdir(tmp_path)

    def run(code: int, *arguments: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert main(arguments) == code
        captured = capsys.readouterr()
        sentence = captured.err.splitlines()[-1]
        assert sentence.startswith("tinygen: ")
        assert "Traceback" not in captured.err
        assert captured.out == ""
        assert sorted(tmp_path.rglob("*")) == before
        return sentence

    return run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("trian", "unknown command 'trian'; did you mean train?"),
        ("--vresion", "unknown option '--vresion'"),
        (
            "train",
            "train needs a family (gpt, llama, tune, vae, vqvae, gan, diffusion, masked), or",
        ),
        ("train gtp", "no family 'gtp' of models; did you mean gpt?"),
        ("train gpt --preset nanoo", "no preset 'nanoo'; did you mean nano?"),
        ("train gpt --setps 5", "unknown option --setps; did you mean --steps?"),
        ("train gpt --model.n-layr 5", "did you mean --model.n-layer?"),
        ("train gpt --step 5", "unknown option --step; did you mean --steps?"),
        (
            "train gpt --steps",
            "--steps needs a value; one that begins with a dash is written --ste",
        ),
        ("train gpt extra words", "unexpected 'extra'"),
        ("train gpt --steps 0", "tinygen: --steps must be at least 1, not 0"),
        ("train gpt --steps 1.5", "--steps must be a whole number, not '1.5'"),
        ("train gpt --lr -1", "--lr must be above 0.0, not -1.0"),
        ("train gpt --lr nan", "--lr must be a finite number"),
        ("train gpt --batch 0", "--batch must be at least 1"),
        ("train gpt --seed -1", "--seed must be at least 0"),
        ("train gpt --model.block-size 0", "--model.block-size must be at least 1"),
        ("train gpt --model.dropout 1", "--model.dropout must be below 1.0"),
        ("train gpt --model.n-head 3", "--model.n-head must divide the width 128, not 3"),
        ("train gpt --optimizer.betas 0.9", "--optimizer.betas must have 2 values, not 1"),
        ("train gpt --tokenizer chr", "--tokenizer cannot be 'chr'; did you mean char?"),
        ("train gpt --data good.txt --device tpu", "unknown device 'tpu'"),
        ("train gpt --budget soon", "a budget is a time such as 90s"),
        ("train gpt --budget 9s --steps 9", "give either --budget or --steps"),
        ("train gpt --config bad.toml", "bad.toml: there is no setting 'model.n_layr'; did you"),
        ("train gpt --config impossible.toml", "impossible.toml: model.n_layer must be at least 1"),
        ("train gpt --config odd.toml --steps 3", "odd.toml: training is a section of settings"),
        ("train gpt --model.width 99", "command line: model.n_head must divide the width 99"),
        ("train gpt --training.steps 0", "tinygen: --training.steps must be at least 1"),
        ("train gpt --batch 1000000000000000000000000", "--batch must be at most"),
        ("train gpt --model.width 9223372036854775808", "--model.width must be at most"),
        ("train gpt --training.threads 99999999999", "--training.threads must be at most 1024"),
        ("train gpt --data.eval-tokens 1", "--data.eval-tokens must be at least 2"),
        ("train gpt --data=", "--data must name the data, and it is empty"),
        ("train gpt --budget=", "--budget must not be empty"),
        ("train gpt --out=", "--out must not be empty"),
        ("train gpt --preset=", "--preset must not be empty"),
        ("train gpt --config=", "--config must not be empty"),
        ("train --resume=", "--resume must not be empty"),
        ("train gpt --budget -5s", "a dash is written --budget=-x"),
        ("train gpt --zzzzzz 5", " more (tinygen train --help"),
        ("sample somewhere --seed -1", "--seed must be between 0 and 2**64 - 1, not -1"),
        ("sample somewhere --prompt -x", "a dash is written --prompt=-x"),
        ("train gpt --data good.txt --out folder", "folder exists already; give --out another"),
        ("train gpt --resume somewhere", "--resume takes all from the run"),
        ("train --resume somewhere --lr 1", "--resume takes all from the run"),
        ("sample", "the following arguments are required: RUN"),
        ("sample somewhere -n 0", "-n must be at least 1, not 0"),
        ("sample somewhere -n two", "--samples must be a whole number, not 'two'"),
        ("sample somewhere --out good.txt", "good.txt exists already"),
        ("sample somewhere --stream --json", "--stream writes to the terminal"),
        ("data fetc", "cannot be 'fetc'; did you mean fetch?"),
        ("data fetch", "data fetch needs a name"),
        ("data fetch tinyshakespear", "no dataset is called 'tinyshakespear'"),
        ("data list docs", "data list takes no name"),
        ("demo --budget 0s", "a budget is a time"),
        ("demo --seed -1", "training.seed must be at least 0"),
        ("doctor now", "unexpected 'now'"),
    ],
)
def test_what_cannot_be_asked_exits_2(
    fails: Callable[..., str], arguments: str, words: str
) -> None:
    assert words in fails(2, *arguments.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("train gpt --data missing.txt", "missing.txt"),
        ("train gpt --data empty.txt", "empty.txt is empty"),
        ("train gpt --data binary.dat", "binary.dat is binary"),
        ("train gpt --data latin.txt", "latin.txt is not UTF-8"),
        ("train gpt --data short.txt", "short.txt: its held-out part has fewer than the two"),
        ("train gpt --data good.txt --model.block-size 5000", "good.txt: 1800 tokens are too few"),
        ("train gpt --data good.txt --data.held-out 1e-300", "too few to hold out 1e-300"),
        ("train gpt --data good.txt --data.held-out 0.0003", "good.txt: its held-out part has"),
        (f"train gpt --data {'x' * 300}", "file name too long; check the path"),
        (f"train --resume {'x' * 300}", "file name too long; check the path"),
        ("train gpt --data lines.jsonl", "line 2: not JSON (Expecting value at column 1)"),
        ("train gpt --data folder", "no text in the folder folder"),
        ("train gpt --config missing.toml", "cannot read the configuration missing.toml"),
        ("train gpt --config broken.toml", "broken.toml is no valid TOML"),
        ("train --resume missing", "there is no run missing"),
        ("train --resume folder", "folder is no run"),
        ("sample folder", "folder is no run"),
        ("eval missing", "there is no run missing"),
    ],
)
def test_what_cannot_be_read_exits_3(fails: Callable[..., str], arguments: str, words: str) -> None:
    assert words in fails(3, *arguments.split())


def test_a_binary_file_is_text_to_the_byte_tokenizer(
    tinygen: Command, tiny: list[str], tmp_path: Path
) -> None:
    (tmp_path / "binary.dat").write_bytes(bytes(range(256)) * 8)
    arguments = ["train", "gpt", "--data", "binary.dat", "--tokenizer", "byte", *tiny]
    result = tinygen(*arguments, "--out", "run")
    assert result.returncode == 0, result.stderr
    result = tinygen("sample", "run", "--tokens", "20")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--prompt", "\udcff"), 3, "unknown character"),
        (("--prompt", "Z"), 3, "unknown character 'Z' (U+005A)"),
        (("--temperature", "-1"), 2, "--temperature must be at least 0.0"),
        (("--top-p", "0"), 2, "--top-p must be above 0.0"),
        (("--tokens", "0"), 2, "--tokens must be at least 1"),
        (("--top-k", "-3"), 2, "--top-k must be at least 0"),
        (("--step", "5"), 3, "has no checkpoint of step 5; it has"),
        (("--out", "nowhere/sample.txt"), 4, "cannot write nowhere/sample.txt"),
    ],
)
def test_a_sample_that_cannot_be_drawn_says_why(
    fails: Callable[..., str], trained: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    assert words in fails(code, "sample", str(trained), *arguments)


def test_other_data_than_the_runs_own_are_refused(
    fails: Callable[..., str], trained: Path, tmp_path: Path
) -> None:
    text = trained.parent / "text.txt"
    shutil.copytree(trained, tmp_path / "run")
    before = text.read_bytes()
    try:
        text.write_bytes(before.replace(b"quick", b"slow!"))
        sentence = fails(3, "eval", "run")
    finally:
        text.write_bytes(before)
    assert "are not what the run was trained on" in sentence


def test_a_damaged_checkpoint_exits_3_and_names_the_good_one(
    fails: Callable[..., str], trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / "step-000006" / "model.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    for arguments in (
        ("sample", "run"),
        ("eval", "run"),
        ("train", "--resume", "run", "--steps", "9"),
    ):
        sentence = fails(3, *arguments)
        assert "model.safetensors is damaged: it has" in sentence
        assert "step-000004 is sound: remove" in sentence


def test_a_checkpoint_of_another_shape_lists_the_tensors(
    fails: Callable[..., str], trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace('"width": 16', '"width": 32'))
    sentence = fails(3, "sample", "run")
    assert "this state does not fit GPT" in sentence
    assert "token_embedding.weight" in sentence
    assert "32)" in sentence


def test_output_that_cannot_be_written_exits_4(fails: Callable[..., str], tiny: list[str]) -> None:
    arguments = ["train", "gpt", "--data", "good.txt", *tiny]
    assert "cannot write good.txt/run" in fails(4, *arguments, "--out", "good.txt/run")
    assert "is not available" in fails(4, *arguments, "--device", "cuda:99")


def test_an_internal_error_exits_1_with_one_sentence(
    fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("unheard of")

    monkeypatch.setattr("tinygen.cli.doctor.environment", broken)
    assert "a bug in tinygen: RuntimeError: unheard of; --debug shows where" in fails(1, "doctor")


def test_too_large_a_model_exits_4(
    fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise MemoryError("Unable to allocate 9.09 TiB")

    monkeypatch.setattr("tinygen.cli.doctor.environment", broken)
    assert "not enough memory (Unable to allocate 9.09 TiB)" in fails(4, "doctor")


def test_debug_adds_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_too_few_images_to_judge_by_exit_3(fails: Callable[..., str], tmp_path: Path) -> None:
    images = np.broadcast_to(np.arange(8, dtype=np.uint8)[:, None, None, None], (8, 8, 8, 1))
    np.savez(tmp_path / "few.npz", images=images)
    for family in ("vae", "gan", "diffusion"):
        words = fails(3, "train", family, "--data", str(tmp_path / "few.npz"), "--out", "few")
        assert "its 8 images leave 1 held out to judge by" in words
        assert not (tmp_path / "few").exists()
