"""Gaps in held-out text: cut exactly, and compared by the distance of Levenshtein."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.cli.main import main
from tinygen.errors import InputError
from tinygen.evaluation.infilling import (
    FrequentLines,
    Gap,
    edit_distance,
    edit_similarity,
    judge_fillings,
    line_gap,
    span_gap,
)
from tinygen.random import Generator

CODE = b"def f(x):\n    y = x\n\n    return y\n"
short = st.text("abé", max_size=6).map(str.encode)


@given(st.text("ab \n\té", max_size=60), st.integers(0, 50))
def test_the_parts_are_the_whole(text: str, seed: int) -> None:
    piece = text.encode()
    gap = line_gap(piece, Generator(seed))
    if gap is not None:
        assert b"".join(gap) == piece
        assert gap.middle.strip()
        assert b"\n" not in gap.middle
        assert gap.suffix.startswith(b"\n")
        assert not gap.prefix.rsplit(b"\n")[-1].strip()
    span = span_gap(piece, Generator(seed), longest=5)
    assert (span is None) == (len(text) < 15)
    if span is not None:
        assert b"".join(span) == piece
        assert 1 <= len(span.middle.decode()) <= 5


def test_every_line_between_two_others_is_drawn() -> None:
    drawn = {line_gap(CODE, Generator(seed)) for seed in range(40)}
    assert {gap.middle for gap in drawn if gap} == {b"y = x", b"return y"}
    assert line_gap(b"one\ntwo", Generator(0)) is None


@given(short, short, short)
def test_the_distance_is_one(a: bytes, b: bytes, c: bytes) -> None:
    assert edit_distance(a, b) == edit_distance(b, a)
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
    assert abs(len(a) - len(b)) <= edit_distance(a, b) <= max(len(a), len(b))
    assert 0 <= edit_similarity(a, b) <= 1


def test_known_distances() -> None:
    assert edit_distance(b"kitten", b"sitting") == 3
    assert judge_fillings([b"abcd", b" x "], [b"abxd", b"x"]) == {
        "exact": 0.5,
        "edit_similarity": 0.875,
    }
    with pytest.raises(InputError, match="no gap"):
        judge_fillings([], [])


def test_the_most_frequent_line_of_its_place() -> None:
    known = FrequentLines(b"a:\n  b\na:\n  b\na:\n  c\nd\nd\nd\nd\n")
    assert known.fill(Gap(b"a:\n  ", b"", b"\n")) == b"b"
    assert known.fill(Gap(b"new\n  ", b"", b"\n")) == b"b"
    assert known.fill(Gap(b"new\n", b"", b"\n")) == b"d"
    assert known.fill(Gap(b"new\n      ", b"", b"\n")) == b""


def test_a_run_is_judged_by_the_gaps_that_it_fills(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("regex")
    (tmp_path / "code.py").write_bytes(CODE * 200)
    told = ["--data", str(tmp_path / "code.py"), "--tokenizer", "bpe", "--data.vocab-size", "280"]
    sizes = "--model.n-layer 1 --model.width 8 --model.n-head 2 --model.block-size 600 --steps 1"
    for name, fim in (("yes", "0.5"), ("no", "0")):
        out = ["--out", str(tmp_path / name), "--batch", "1", "--data.fim", fim]
        assert main(["train", "gpt", *told, *out, *sizes.split()]) == 0
    capsys.readouterr()
    assert main(["eval", str(tmp_path / "yes"), "--infill", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["line_frequent_exact"] > 0  # the training part has each line of the held-out one
    for way in ("line_psm", "line_spm", "span_psm", "span_spm"):
        assert 0 <= found[f"{way}_exact"] <= found[f"{way}_edit_similarity"] <= 1
        assert 4 < found[f"{way}_nats_a_token"] < 8  # log(284) = 5.6: it has learned nothing
    assert main(["eval", str(tmp_path / "no"), "--infill", "2"]) == 2
    assert "needs a tokenizer with the special token" in capsys.readouterr().err
