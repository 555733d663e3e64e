"""The tests, tested: mistakes planted in every op are found by that op's own laws."""

from __future__ import annotations

import pytest

from tinygen.testing.__main__ import main
from tinygen.testing.catalogue import load
from tinygen.testing.laws import LAWS
from tinygen.testing.mutants import MUTANTS, differs, judge, planted
from tinygen.testing.report import Cell, Report, matrix, sampled

CATALOGUE = load()
SAMPLE = [(name, mutant.name) for name, op in CATALOGUE.items() for mutant in sampled(op)]
ALL = [(name, mutant) for name in CATALOGUE for mutant in MUTANTS]


def assert_noticed(op: str, mutant: str, examples: int) -> None:
    verdict = judge(CATALOGUE[op], MUTANTS[mutant], examples)
    assert verdict.fate != "survived", verdict.reason


@pytest.mark.parametrize(("op", "mutant"), SAMPLE)
def test_a_sampled_mutant_is_noticed(op: str, mutant: str) -> None:
    assert_noticed(op, mutant, examples=12)


@pytest.mark.deep
@pytest.mark.parametrize(("op", "mutant"), ALL)
def test_every_mutant_is_noticed(op: str, mutant: str) -> None:
    assert_noticed(op, mutant, examples=40)


def test_the_sample_tries_every_mutant() -> None:
    assert {mutant for _, mutant in SAMPLE} == MUTANTS.keys()


@pytest.mark.parametrize("n", range(12))
def test_a_sample_has_no_mutant_twice(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fitting = [mutant for mutant in MUTANTS.values() if mutant.reason(CATALOGUE["exp"]) is None]
    few = {mutant.name: mutant for mutant in fitting[:n]}
    monkeypatch.setattr("tinygen.testing.report.MUTANTS", few)
    for op in CATALOGUE.values():
        tried = sampled(op)
        assert len({mutant.name for mutant in tried}) == len(tried)
        fits = sum(mutant.reason(op) is None for mutant in few.values())
        assert len(tried) == min(3, fits)


@pytest.mark.parametrize("name", ["tanh", "matmul", "cross_entropy"])
def test_a_planted_mistake_changes_what_it_says(name: str) -> None:
    """In value or in a derivative; and the op in the catalogue stays as it was."""
    op = CATALOGUE[name]
    calls = op.samples[:10]
    for mutant in MUTANTS.values():
        assert any(differs(op, planted(op, mutant), call) for call in calls), mutant.name
    assert not any(differs(op, op, call) for call in calls)


def test_equivalent_and_exempt_mutants_say_why() -> None:
    verdict = judge(CATALOGUE["floor"], MUTANTS["derivative zeroed"])
    assert (verdict.fate, verdict.reason) == ("equivalent", "the same numbers on every call")
    verdict = judge(CATALOGUE["equal"], MUTANTS["derivative zeroed"])
    assert verdict.fate == "exempt"
    assert "no derivative" in verdict.reason


def test_the_matrix_has_every_cell_of_an_op() -> None:
    report = matrix(["relu", "argmax"], examples=4, mutants="all")
    assert len(report.cells) == 2 * (len(LAWS) + len(MUTANTS))
    assert report.findings == []
    assert all(cell.reason for cell in report.cells if cell.fate in ("exempt", "equivalent"))
    text = "\n".join(report.lines())
    assert "relu" in text
    assert f"2 ops x {len(LAWS)} laws x {len(MUTANTS)} mutants" in text


def test_the_command_prints_the_matrix(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["exp", "--examples", "2", "--mutants", "none"]) == 0
    assert "0 failed" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["no_such_op"])
    with pytest.raises(SystemExit):
        main(["exp", "--examples", "0"])


def test_findings_are_printed_and_change_the_exit_code() -> None:
    report = Report([Cell("exp", "value", "failed", "off by one")])
    assert report.findings
    assert "FOUND  exp / value: off by one" in list(report.lines())
