"""Lines with given words and of a given length: by enumeration, whatever the tokens and budget."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import TableModel

import tinygen as tg
from tinygen.cli.main import main
from tinygen.decoding import Constraint, beam_search, sample
from tinygen.decoding.constraints import line_with_words
from tinygen.decoding.processors import Context
from tinygen.errors import UsageError

BYTES = [bytes([b]) for b in range(256)]
PIECES = [b"a", b"b", b" ", b"\n", b"ab", b"a b", b" a", b"ba\n", None]


def holds(text: str, words: list[str], least: int, most: int, unit: str, match: bool) -> bool:
    """The same in the words of the standard library."""
    if not text.endswith("\n") or "\n" in text[:-1]:
        return False
    there = re.findall(r"[A-Za-z0-9_\u0080-\U0010ffff]+", text)
    size = len(there) if unit == "words" else len(text) - 1
    same = there if match else [word.lower() for word in there]
    wanted = words if match else [word.lower() for word in words]
    return least <= size <= most and set(wanted) <= set(same)


bounds = st.tuples(
    st.lists(st.sampled_from(["a", "b", "ab", "B", "ba"]), max_size=2),
    st.integers(0, 2),
    st.integers(2, 4),
    st.sampled_from(["words", "characters"]),
    st.booleans(),
)


@given(bounds)
def test_the_automaton_is_the_definition(bound) -> None:
    words, least, most, unit, match = bound
    texts = ["".join(t) for n in range(5) for t in itertools.product("aB -", repeat=n)]
    wanted = [t + "\n" for t in texts if holds(t + "\n", words, least, most, unit, match)]
    try:
        automaton = line_with_words(words, least, most, unit=unit, match_case=match)
    except UsageError:
        assert not wanted
        return
    assert [t + "\n" for t in texts if automaton.matches((t + "\n").encode())] == wanted
    assert not any(automaton.matches(t.encode()) for t in texts)


@given(bounds, st.integers(0, 12), st.integers(0, 99))
@pytest.mark.parametrize("way", [sample, beam_search])
def test_no_text_comes_to_a_dead_end(way, bound, spare: int, seed: int) -> None:
    words, least, most, unit, match = bound
    if match:
        words = [word for word in words if word != "B"]  # which the tokens cannot write
    try:
        constraint = Constraint(
            line_with_words(words, least, most, unit=unit, match_case=match), PIECES
        )
    except UsageError:
        return
    options = {} if way is beam_search else {"rng": tg.random.Generator(seed)}
    steps = way(
        TableModel(len(PIECES), seed),
        prompts=np.array([[0]]),
        max_new_tokens=int(constraint.tokens.distances[0]) + spare,
        processors=[constraint],
        **options,
    )
    text = b"".join(PIECES[int(step.tokens[0])] for step in steps).decode()
    assert holds(text, words, least, most, unit, match), text


@given(bounds, st.integers(1, 4))
def test_what_is_masked_could_not_be_completed_and_nothing_else_is(bound, budget: int) -> None:
    words, least, most, unit, match = bound
    whole = {
        row
        for n in range(1, budget + 1)
        for row in itertools.product(range(8), repeat=n)
        if holds(b"".join(PIECES[i] for i in row).decode(), words, least, most, unit, match)
    }
    try:
        constraint = Constraint(
            line_with_words(words, least, most, unit=unit, match_case=match), PIECES
        )
        found = constraint([Context(np.array([0]), 1, budget)], np.zeros((1, len(PIECES))))
    except UsageError:
        assert not whole
        return
    assert set(np.flatnonzero(found[0] > -np.inf).tolist()) == {row[0] for row in whole}


@pytest.mark.parametrize("text", ["é", "€", "\U0001f600", "\u017f", "\ud7ff"])
def test_characters_of_several_bytes(text: str) -> None:
    automaton = line_with_words([text], 1, 1)
    assert automaton.matches(f"- {text}!\n".encode())
    assert not automaton.matches(f"{text}x\n".encode())
    assert line_with_words([], 3, 3, unit="characters").matches(f"a{text}b\n".encode())
    for wrong in (b"\xff", b"\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"):
        assert not line_with_words([]).matches(wrong + b"\n")


def test_what_cannot_be_is_explained() -> None:
    with pytest.raises(UsageError, match=r"'c\+\+' is no word to include"):
        line_with_words(["c++"])
    with pytest.raises(UsageError, match="smaller number first"):
        line_with_words([], 3, 2)
    with pytest.raises(UsageError, match="no text at all"):
        line_with_words(["a", "b", "c"], 1, 2)
    with pytest.raises(UsageError, match="more than 20000 states"):
        line_with_words([f"word{i}" for i in range(9)], 1, 900)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.txt").write_text("a fast tool\na small library\n" * 50)
    run = str(tmp_path / "run")
    sizes = "--model.n-layer 1 --model.width 8 --model.n-head 2 --model.block-size 16 --steps 2"
    assert (
        main(["train", "gpt", "--data", str(tmp_path / "t.txt"), "--out", run, *sizes.split()]) == 0
    )
    capsys.readouterr()
    assert main(["sample", run, "--must-include", "Fast, library", "--words", "3-5"]) == 0
    line = capsys.readouterr().out.rstrip("\n")
    assert holds(line + "\n", ["fast", "library"], 3, 5, "words", False)
    for wrong, message in (
        (["--words", "5-3"], "must be a range such as 5-12"),
        (["--words", "3", "--characters", "9"], "give one of the two"),
        (["--words", "3", "--regex", "a"], "stand beside another constraint"),
    ):
        assert main(["sample", run, *wrong]) == 2
        assert message in capsys.readouterr().err
