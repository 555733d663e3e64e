"""Lines of names and molecules: valid, unique, novel; and the lines that counting writes."""

from __future__ import annotations

from collections import Counter

import pytest

from tinygen.data.ngrams import NGram
from tinygen.errors import InputError, UsageError
from tinygen.evaluation import are_molecules, judge_lines
from tinygen.random import Generator


def test_shares() -> None:
    lines = ["CCO", "CCO", "CCN", "C=C=", "c1cccc1", ""]
    assert judge_lines(lines, ["CCN"], molecules=True) == {
        "valid": 3 / 6,
        "unique": 2 / 3,
        "novel": 1 / 2,
    }
    assert judge_lines(["ann", "bob", "bob"], {"ann"}) == {"unique": 2 / 3, "novel": 1 / 2}
    assert judge_lines(["C("], [], molecules=True) == {"valid": 0.0, "unique": 0.0, "novel": 0.0}
    with pytest.raises(InputError, match="no line"):
        judge_lines([], [])


def test_molecules_are_told_from_names() -> None:
    assert are_molecules(["c1ccccc1", "CC(=O)O", "CCNCC"])
    assert not are_molecules(["anna", "oliver", "noah"])
    assert not are_molecules(["CO", "NO"])
    assert not are_molecules([])


def test_counting_writes_what_it_counted() -> None:
    assert NGram(["abc"]).line(Generator(0)) == "abc"
    rng, model = Generator(0), NGram(["ab", "ab", "ac", ""], order=1)
    drawn = Counter(model.line(rng) for _ in range(2000))
    assert drawn.keys() == {"ab", "ac", ""}
    for line, share in (("ab", 0.5), ("ac", 0.25), ("", 0.25)):
        assert abs(drawn[line] / 2000 - share) < 0.05
    assert len(NGram(["aa" * 500], order=1).line(rng, longest=7)) <= 7
    with pytest.raises(UsageError, match="order"):
        NGram([], order=0)
