"""Tuning: the loss is of answers alone, DPO is its equation, runs go on bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygen as tg
from tinygen import nn, ops
from tinygen.cli.main import main
from tinygen.data.examples import IGNORED, encoded, padded
from tinygen.data.tokenizers import ByteTokenizer
from tinygen.models.transformer import GPT, GPTConfig
from tinygen.models.transformer.preference import answer_log_probs, dpo_loss
from tinygen.random import Generator
from tinygen.testing import check_grad

SUMS = [(a, b) for a in range(5) for b in range(5)]


def test_the_loss_is_that_of_the_answers_tokens() -> None:
    """Each example alone, its answer's tokens by hand, against the padded batch."""
    model = GPT(GPTConfig(256, 16, 1, 2, 16), rng=Generator(0)).to(dtype="float64")
    examples = [[("2+2=", False), ("4\n", True)], [("question: ", False), ("answer", True)]]
    rows = [encoded(segments, ByteTokenizer(), 16) for segments in examples]
    tokens, targets = padded(rows)
    loss = ops.cross_entropy(model(tokens), targets, ignore_index=IGNORED)
    total, count = 0.0, 0
    for (prompt, _), (answer, _) in examples:
        text = np.frombuffer((prompt + answer).encode(), np.uint8).astype(np.int64)
        log_p = ops.log_softmax(model(text[None, :-1])).detach().numpy()[0]
        places = range(len(prompt) - 1, len(text) - 1)
        total -= sum(log_p[place, text[place + 1]] for place in places)
        count += len(places)
    assert loss.item() == pytest.approx(total / count, rel=1e-12)
    found = answer_log_probs(model(tokens), targets, IGNORED)
    assert -ops.sum(found).item() == pytest.approx(total, rel=1e-12)


def test_dpo_is_its_equation() -> None:
    rng = np.random.default_rng(0)
    chosen, rejected, reference_chosen, reference_rejected = rng.standard_normal((4, 5)) * 3
    reference = (reference_chosen, reference_rejected)
    loss, margins = dpo_loss(chosen, rejected, reference, 0.3)
    wanted = 0.3 * ((chosen - reference_chosen) - (rejected - reference_rejected))
    np.testing.assert_allclose(margins, wanted, rtol=1e-14)
    assert float(loss) == pytest.approx(np.log1p(np.exp(-wanted)).mean(), rel=1e-13)
    leaves = [tg.tensor(x, requires_grad=True) for x in (chosen, rejected)]
    check_grad(lambda p, q: dpo_loss(p, q, reference, 0.3)[0], *leaves, order=2)
    equal, _ = dpo_loss(chosen, rejected, (chosen, rejected), 0.3)
    assert float(equal) == pytest.approx(np.log(2), rel=1e-14)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, answers and pairs."""
    path = tmp_path_factory.mktemp("tune")
    (path / "text.txt").write_text("\n".join(f"{a}+{b}={b} 56789" for a, b in SUMS * 4))
    answers = [{"prompt": f"{a}+{b}=", "completion": f"{a + b}\n"} for a, b in SUMS]
    pairs = [{"prompt": f"{a}+{b}=", "chosen": f"{a + b}\n", "rejected": f"{b}\n"} for a, b in SUMS]
    for name, values in (("answers", answers), ("pairs", pairs)):
        lines = "".join(json.dumps(value) + "\n" for value in values)
        (path / f"{name}.jsonl").write_text(lines)
    tiny = ["--model.n-layer", "1", "--model.width", "16", "--model.n-head", "2", "--steps", "4"]
    text = ["--data", str(path / "text.txt"), "--tokenizer", "char", "--model.block-size", "12"]
    assert main(["train", "gpt", *tiny, *text, "--batch", "4", "--out", str(path / "base")]) == 0
    return path


def tune(folder: Path, out: Path, *more: str, data: str = "answers") -> int:
    fixed = ["--data", str(folder / f"{data}.jsonl"), "--out", str(out), "--batch", "4"]
    return main(["tune", str(folder / "base"), *fixed, "--rank", "4", *more])


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("method", "data"), [("lora", "answers"), ("full", "answers"), ("dpo", "pairs")]
)
def test_a_run_learns_goes_on_and_writes(
    folder: Path, tmp_path: Path, method: str, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    every = ["--method", method, "--log-every", "1", "--eval-every", "3", "--save-every", "3"]
    assert tune(folder, tmp_path / "whole", *every, "--steps", "6", data=data) == 0
    whole = lines(tmp_path / "whole")
    assert whole[-1]["val_loss"] < whole[0]["loss"]
    if method == "dpo":
        assert whole[0]["loss"] == pytest.approx(np.log(2), rel=1e-6)
        assert 0 <= whole[-1]["in_order"] <= 1
    newest = tmp_path / "whole" / "checkpoints" / "step-000006"
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    before = (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    assert main(["train", "--resume", str(tmp_path / "whole")]) == 0
    assert (tmp_path / "whole" / "metrics.jsonl").read_bytes() == before
    capsys.readouterr()
    options = ["--prompt", "1+1=", "--tokens", "2", "--temperature", "0", "--seed", "1"]
    assert main(["sample", str(tmp_path / "whole"), *options]) == 0
    assert capsys.readouterr().out.startswith("1+1=")
    assert main(["eval", str(tmp_path / "whole"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["val_loss"] == whole[-1]["val_loss"]


def test_what_lora_writes_is_what_its_recipe_evaluated(folder: Path, tmp_path: Path) -> None:
    """The merged model of `sample` has the loss of the adapters in the checkpoint."""
    from tinygen.recipes.tune import TuneConfig, TuneRecipe, restore
    from tinygen.training.run import Run

    assert tune(folder, tmp_path / "run", "--steps", "8") == 0
    run = Run(tmp_path / "run")
    config = TuneConfig().updated(run.config_values, where="config.json")
    recipe, state = TuneRecipe(config), run.load()
    assert state is not None
    recipe.load_state_dict(state)
    wanted = recipe.evaluate()["val_loss"]
    recipe.writer = restore(config, state)
    assert not any(isinstance(part, nn.LoRALinear) for part in recipe.model.modules())
    assert recipe.evaluate()["val_loss"] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ("tune base", 2, "needs examples: --data"),
        ("tune absent --data answers.jsonl", 3, "absent"),
        ("tune base --data absent.jsonl", 3, "absent.jsonl"),
        ("tune base --data pairs.jsonl", 3, "does not fit --model.method lora"),
        ("tune base --data answers.jsonl --method dpo", 3, "pairs of chosen and rejected"),
        ("tune base --data answers.jsonl --rank 99", 2, "a rank of 99 is more than a layer"),
        ("tune base --data answers.jsonl --targets nothing", 2, "no linear layer's name fits"),
        ("tune base --data answers.jsonl --method all", 2, "--method cannot be 'all'"),
        ("tune", 2, "MODEL"),
    ],
)
def test_bad_input(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: str, code: int, sentence: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    there = sorted(path.name for path in folder.iterdir())
    assert main(arguments.split()) == code
    assert sentence in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == there
