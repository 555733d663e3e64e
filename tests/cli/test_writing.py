"""`tinygen sample` of text, in this process: what each option makes of the same trained run."""

import json
import re
from pathlib import Path

import pytest

from tinygen.cli.main import main
from tinygen.data.tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer
from tinygen.models.transformer import GPT, GPTConfig
from tinygen.random import Generator
from tinygen.recipes.writing import Sampling, Writer


@pytest.fixture
def sampled(trained: Path, capsys: pytest.CaptureFixture[str]):
    def run(*options: str, seed: int = 3) -> str:
        arguments = ["sample", str(trained), "--seed", str(seed), "--json", *options]
        assert main(arguments) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)["samples"][0]

    return run


@pytest.fixture
def refused(trained: Path, capsys: pytest.CaptureFixture[str]):
    def run(*options: str) -> tuple[int, str]:
        code = main(["sample", str(trained), "--seed", "1", *options])
        return code, capsys.readouterr().err

    return run


def test_the_added_text_is_bound_by_a_regular_expression(sampled) -> None:
    for seed in range(3):
        options = ("--prompt", "The ", "--regex", "[a-z]{2,6} [a-z]+", "--tokens", "9")
        assert re.fullmatch("The [a-z]{2,6} [a-z]+", sampled(*options, seed=seed))


def test_the_added_text_is_bound_by_a_schema_or_the_file_of_one(tmp_path: Path) -> None:
    writer = Writer(GPT(GPTConfig(256, 16, 1, 1, 4), rng=Generator(0)), ByteTokenizer(), "cpu")
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    for given in (json.dumps(schema), str(tmp_path / "schema.json")):
        pieces = list(writer.sample(Generator(0), Sampling(json_schema=given, tokens=30)))
        assert isinstance(json.loads("".join(pieces))["n"], int)
        assert len(pieces) > 5  # as they come


def test_a_stop_text_ends_the_sample_before_it(sampled) -> None:
    whole = sampled("--tokens", "200")
    assert " " in whole
    assert sampled("--tokens", "200", "--stop", " ") == whole[: whole.index(" ")]
    assert sampled("--tokens", "200", "--stop", "never there") == whole


def test_filters_and_penalties_change_what_is_drawn(sampled) -> None:
    plain = sampled("--tokens", "60")
    greedy = sampled("--tokens", "60", "--temperature", "0")
    assert sampled("--tokens", "60", "--min-p", "1") == greedy
    assert sampled("--tokens", "60", "--beams", "1", "--temperature", "0") == greedy
    for options in (
        ("--repetition-penalty", "3"),
        ("--frequency-penalty", "5"),
        ("--presence-penalty", "5"),
        ("--top-p", "0.3"),
    ):
        assert sampled("--tokens", "60", *options) != plain
    text = sampled("--tokens", "60", "--no-repeat-ngram", "2")
    pairs = [text[i : i + 2] for i in range(len(text) - 1)]
    assert len(set(pairs)) == len(pairs)


def test_a_beam_search_needs_no_seed(sampled) -> None:
    options = ("--tokens", "12", "--beams", "3")
    assert sampled(*options, seed=1) == sampled(*options, seed=2)


def test_a_marked_text_is_detected_by_its_key_alone(sampled, trained, tmp_path, capsys) -> None:
    text = sampled("--tokens", "150", "--watermark", "our key", "--temperature", "1")
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    arguments = ["sample", str(trained), "--detect", str(tmp_path / "text.txt")]
    p_values = {}
    for key in ("our key", "another"):
        assert main([*arguments, "--watermark", key, "--json"]) == 0
        p_values[key] = json.loads(capsys.readouterr().out)["p_value"]
    assert p_values["our key"] < 1e-4
    assert p_values["another"] > 1e-3
    assert main([*arguments, "--watermark", "our key"]) == 0
    assert re.match(r"\d+ of \d+ pairs of neighbours are green; a text", capsys.readouterr().out)
    assert main(arguments) == 2
    assert "--watermark KEY" in capsys.readouterr().err


def test_a_draft_run_changes_no_greedy_text(sampled, trained) -> None:
    greedy = sampled("--tokens", "50", "--temperature", "0")
    assert sampled("--tokens", "50", "--temperature", "0", "--draft", str(trained)) == greedy


def test_what_cannot_be_asked_for_is_explained(refused, tmp_path) -> None:
    (tmp_path / "torn.json").write_text('{"type":')
    for options, code, words in [
        (("--regex", "("), 2, "cannot be read at position 1: a group is not closed"),
        (("--regex", "[0-9]+"), 2, "no tokens of the vocabulary"),
        (
            ("--regex", "[a-z]{30}", "--tokens", "20"),
            2,
            "needs 30 tokens to be met, and 20 are left",
        ),
        (("--regex", "a", "--json-schema", "{}"), 2, "regex stands beside json_schema"),
        (("--json-schema", "nowhere.json"), 3, "cannot read the JSON schema nowhere.json"),
        (("--json-schema", str(tmp_path / "torn.json")), 3, "torn.json is no valid JSON"),
        (("--json-schema", '{"type": "date"}'), 2, "there is no type 'date'"),
        (("--min-p", "1.5"), 2, "--min-p must be at most 1.0, not 1.5"),
        (("--repetition-penalty", "0"), 2, "--repetition-penalty must be above 0"),
        (("--draft", "nowhere"), 3, "there is no run nowhere"),
    ]:
        found, sentence = refused(*options)
        assert (found, words in sentence) == (code, True), sentence
        assert len(sentence.strip().splitlines()) <= 2  # the seed, and one sentence


def test_special_tokens_are_no_text_to_a_rule() -> None:
    tokenizer = BPETokenizer.train("aaaa bbbb", 260, special_tokens=["aa<end>"])
    size = tokenizer.vocab_size + 2  # a model may have more tokens than its tokenizer
    model = GPT(GPTConfig(size, 16, 1, 1, 4), rng=Generator(0))
    end = tokenizer.special_tokens["aa<end>"]
    for seed in range(5):
        pieces = Writer(model, tokenizer, "cpu", [end]).sample(
            Generator(seed), Sampling(regex="[a-z<>]{4,9}", tokens=12, top_k=0, temperature=3.0)
        )
        assert re.fullmatch("[a-z<>]{4,9}", "".join(pieces))


def test_a_draft_of_other_tokens_is_refused() -> None:
    def writer(characters: str) -> Writer:
        config = GPTConfig(len(characters), 4, 1, 1, 4)
        return Writer(GPT(config, rng=Generator(0)), CharTokenizer(characters), "cpu")

    with pytest.raises(ValueError, match="other tokens"):
        writer("abc").let_propose(writer("abd"))


def test_eval_tells_what_is_copied(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(trained), "--copied", "40", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["of_bytes"] >= 40
    assert 0 < found["copied_bytes"] == len(found["copied_text"].encode()) <= found["of_bytes"]
    assert found["copied_text"] in (trained.parent / "text.txt").read_text()
    assert main(["eval", str(trained), "--copied", "0"]) == 2
    assert "--copied TOKENS" in capsys.readouterr().err


def test_eval_judges_lines(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", str(trained), "--lines", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    for name in ("unique", "novel", "trigram_unique", "trigram_novel"):
        assert 0 <= found[name] <= 1
    assert "valid" not in found


def test_a_file_of_examples_comes_before_the_prompt(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is read by the model as if it stood in the prompt, and is not repeated."""
    examples = (trained.parent / "text.txt").read_text()[:5]
    (tmp_path / "shots.txt").write_text(examples)
    fixed = ["--tokens", "3", "--temperature", "0", "--seed", "1"]
    prompt = (trained.parent / "text.txt").read_text()[5:7]
    assert main(["sample", str(trained), "--prompt", examples + prompt, *fixed]) == 0
    whole = capsys.readouterr().out
    file = ["--prompt-file", str(tmp_path / "shots.txt")]
    assert main(["sample", str(trained), *file, "--prompt", prompt, *fixed]) == 0
    assert examples + capsys.readouterr().out == whole
    assert main(["sample", str(trained), "--prompt-file", str(tmp_path / "absent")]) == 3
    assert "absent" in capsys.readouterr().err
