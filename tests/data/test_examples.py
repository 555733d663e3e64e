"""Examples of prompts and answers: what is read, what is learned of it, how rows become a batch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.data.examples import IGNORED, Example, chat, encoded, padded, read_examples
from tinygen.data.tokenizers import ByteTokenizer
from tinygen.errors import InputError

texts = st.text("abc \n", max_size=6)


def write(folder: Path, *values: object) -> Path:
    path = folder / "examples.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def test_three_kinds_of_lines(tmp_path: Path) -> None:
    path = write(tmp_path, {"prompt": "a", "completion": "b"})
    assert read_examples(path) == [Example((("a", False), ("b", True)))]
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]
    (example,) = read_examples(write(tmp_path, {"messages": messages}))
    assert "".join(text for text, _ in example.segments) == (
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYes<|im_end|>\n"
    )
    assert [text for text, learned in example.segments if learned] == ["Yes<|im_end|>\n"]
    assert example.segments == chat(messages)
    path = write(tmp_path, {"prompt": "a", "chosen": "b", "rejected": "c"})
    (example,) = read_examples(path)
    assert example.rejected == (("a", False), ("c", True))


@given(st.lists(st.tuples(texts, st.booleans()), min_size=1, max_size=5), st.integers(1, 30))
def test_targets_are_the_learned_tokens_one_place_later(
    segments: list[tuple[str, bool]], longest: int
) -> None:
    tokens, targets = encoded(segments, ByteTokenizer(), longest)
    whole = "".join(text for text, _ in segments).encode()[-longest - 1 :]
    learned = np.concatenate([np.full(len(text.encode()), own) for text, own in segments])
    assert bytes(tokens.astype(np.uint8)) == whole[:-1]
    for place, target in enumerate(targets):
        own = learned[len(learned) - len(whole) + place + 1]
        assert target == (whole[place + 1] if own else IGNORED)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5))
def test_rows_are_filled_up_behind(lengths: list[int]) -> None:
    rows = [(np.arange(n) + 1, np.arange(n) + 2) for n in lengths]
    tokens, targets = padded(rows)
    assert tokens.shape == targets.shape == (len(rows), max(lengths))
    for n, row, wanted in zip(lengths, tokens, targets, strict=True):
        assert row[:n].tolist() == list(range(1, n + 1))
        assert wanted.tolist() == [*range(2, n + 2), *[IGNORED] * (max(lengths) - n)]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("", "no examples in"),
        ("{", "line 1: not JSON"),
        ("[]", "a JSON list"),
        ('{"prompt": "a"}', "no text 'completion' \\(it has 'prompt'\\)"),
        ('{"completion": "a"}', "no text 'prompt'"),
        ('{"prompt": 1, "completion": "a"}', "no text 'prompt'"),
        ('{"prompt": "a", "chosen": "b"}', "no text 'rejected'"),
        ('{"messages": []}', "'messages' is a list"),
        ('{"messages": [{"role": "robot", "content": "a"}]}', "a message's role is one of"),
        ('{"messages": [{"role": "user", "content": "a"}]}', "nothing to learn"),
        ('{"messages": [{"role": "user"}]}', "no text 'content'"),
    ],
)
def test_what_is_no_example(tmp_path: Path, line: str, sentence: str) -> None:
    (tmp_path / "x.jsonl").write_text(line + "\n")
    with pytest.raises(InputError, match=sentence):
        read_examples(tmp_path / "x.jsonl")


def test_pairs_and_answers_do_not_mix(tmp_path: Path) -> None:
    pair = {"prompt": "a", "chosen": "b", "rejected": "c"}
    with pytest.raises(InputError, match="some lines have a 'rejected' answer"):
        read_examples(write(tmp_path, pair, {"prompt": "a", "completion": "b"}))
