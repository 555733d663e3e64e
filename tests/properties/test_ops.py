"""Every public op under every law: the one suite that proves the ops.

A cell is an op and a law that applies to it; `python -m tinygen.testing` prints the matrix with its
exemptions. The laws are in `tinygen/testing/laws`, the ops' entries in `tinygen/testing/catalogue`.
"""

from __future__ import annotations

import pytest
from hypothesis import given, reject, settings

from tinygen import ops
from tinygen.testing import laws, strategies
from tinygen.testing.catalogue import load
from tinygen.testing.drawing import Call

CATALOGUE = load()
CELLS = [
    (name, law.name)
    for name, op in CATALOGUE.items()
    for law in laws.LAWS.values()
    if law.reason(op) is None
]


def test_no_op_without_its_entry() -> None:
    assert set(ops.__all__) <= CATALOGUE.keys()


def test_every_exemption_has_a_reason() -> None:
    for op in CATALOGUE.values():
        assert op.exempt.keys() <= laws.LAWS.keys(), f"{op.name} is exempt from a law unknown"
        assert all(reason.strip() for reason in op.exempt.values())


@pytest.mark.parametrize(("op", "law"), CELLS)
def test_law(op: str, law: str) -> None:
    judged = laws.check_law(CATALOGUE[op], laws.LAWS[law], examples=12)
    assert judged > 0, "no call that was drawn says anything about this law"


@pytest.mark.deep
@pytest.mark.parametrize(("op", "law"), CELLS)
def test_law_deeply(op: str, law: str) -> None:
    """The same, searched by Hypothesis, which also shrinks what it finds."""

    @settings(settings.get_profile("deep"))
    @given(strategies.calls_for(CATALOGUE[op], laws.LAWS[law]), strategies.seeds())
    def holds(call: Call, seed: int) -> None:
        try:
            laws.LAWS[law].judge(CATALOGUE[op], call, seed)
        except laws.RejectedError:
            reject()

    holds()
