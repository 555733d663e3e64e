"""The laws that every op of the catalogue obeys, each a check of one drawn call.

    from tinygen.testing import laws
    laws.check("softmax", "value", seed=3)      # one cell, one example: what a failure prints
    laws.check_all("softmax", examples=20)      # every law that applies

A law says on which numbers it wants its arguments, and why it does not apply to an op. The report
`python -m tinygen.testing` prints ops x laws x mutants.
"""

from __future__ import annotations

from tinygen.testing.catalogue import Op, load
from tinygen.testing.laws import derivatives, graphs, values
from tinygen.testing.laws.law import LAWS, Law, LawError, RejectedError

__all__ = ["LAWS", "Law", "LawError", "RejectedError", "check", "check_all", "check_law"]

_FILES = (values, derivatives, graphs)  # importing a file adds its laws to LAWS


def check(name: str, law: str, *, seed: int = 0) -> None:
    """One law on one drawn call of one op."""
    LAWS[law].run(load()[name], seed)


def check_law(op: Op, law: Law, examples: int) -> int:
    """A law on `examples` calls that it can judge, of at most four times as many that are drawn;
    returns how many it judged."""
    judged = 0
    wanted = examples if law.drawn else 1
    for seed in range(4 * wanted):
        if judged == wanted:
            break
        try:
            law.run(op, seed)
        except RejectedError:
            continue
        judged += 1
    return judged


def check_all(name: str, *, examples: int = 20) -> None:
    """Every law that applies to the op `name`."""
    op = load()[name]
    for law in LAWS.values():
        if law.reason(op) is None:
            check_law(op, law, examples)
