"""Wishes of words and length, and whether lines meet them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinygen.cli.main import main
from tinygen.errors import InputError
from tinygen.evaluation.bounded import Wish, judge_bounded, wish_of
from tinygen.random import Generator


def test_a_line_meets_the_wish_that_was_made_of_it() -> None:
    line = "A small, fast Library for tests"
    wishes = {wish_of(line, Generator(seed)) for seed in range(60)}
    assert {wish.words for wish in wishes if wish} >= {("small", "fast"), ("tests", "library")}
    assert all(wish is not None and wish.met(line) for wish in wishes)
    assert wish_of("a fast one", Generator(0)) is None


def test_shares() -> None:
    wish = Wish(("fast",), 2, 3)
    lines = ["fast tool", "fast", "faster tool", "a Fast tool"]
    found = judge_bounded([wish] * 4, lines, ["fast"])
    assert found["met"] == 0.5
    assert found["copied"] == 0.25
    assert found["distinct_1"] == 4 / 8
    assert found["distinct_2"] == 3 / 4
    with pytest.raises(InputError, match="no line"):
        judge_bounded([], [], [])


def test_a_bound_run_meets_every_wish(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.txt").write_text("some fast tool\nvery small library\n" * 50)
    run = str(tmp_path / "run")
    sizes = "--model.n-layer 1 --model.width 8 --model.n-head 2 --model.block-size 16 --steps 2"
    told = ["--data", str(tmp_path / "t.txt"), "--out", run]
    assert main(["train", "gpt", *told, *sizes.split()]) == 0
    capsys.readouterr()
    assert main(["eval", run, "--bound", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bound_met"] == 1
    assert found["free_met"] == 0
    assert 4 < found["bound_nats_a_byte"] < 7  # log(256) = 5.5: it has learned nothing
