"""The matrix ops x laws x mutants: what was proved of every op, and what was not, with the reason.

python -m tinygen.testing                        # every op, every law, a sample of the mutants
python -m tinygen.testing softmax --mutants all --examples 100
"""

from __future__ import annotations

import textwrap
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from tinygen.testing.catalogue import Op, load
from tinygen.testing.laws import LAWS, Law, LawError, check_law
from tinygen.testing.mutants import MUTANTS, Mutant, judge

Choice: TypeAlias = Literal["none", "sampled", "all"]

SIGNS = {
    "passed": "+",
    "killed": "k",
    "equivalent": "=",
    "exempt": ".",
    "failed": "X",
    "survived": "X",
    "not run": " ",
}
SAMPLE = 3


@dataclass(frozen=True)
class Cell:
    """One op under one law, or with one mutant."""

    op: str
    column: str
    fate: str
    reason: str = ""


@dataclass
class Report:
    """All cells, and how to print them."""

    cells: list[Cell] = field(default_factory=list)

    @property
    def findings(self) -> list[Cell]:
        """What is not as it should be."""
        return [cell for cell in self.cells if cell.fate in ("failed", "survived")]

    def count(self, fate: str) -> int:
        return sum(cell.fate == fate for cell in self.cells)

    def lines(self) -> Iterator[str]:
        """The matrix, its legend, the exemptions by reason, and the findings."""
        columns = [*LAWS, *MUTANTS]
        fates = {(cell.op, cell.column): cell.fate for cell in self.cells}
        names = list(dict.fromkeys(cell.op for cell in self.cells))
        width = max(map(len, names), default=0)
        yield from _legend(columns)
        yield ""
        for digits in _column_numbers(len(columns)):
            yield f"{'':{width}}  {_spaced(digits)}"
        for name in names:
            row = "".join(SIGNS[fates.get((name, column), "not run")] for column in columns)
            yield f"{name:{width}}  {_spaced(row)}"
        yield ""
        yield "exempt and equivalent, by reason:"
        for reason, cells in _by_reason(self.cells, ("exempt", "equivalent")).items():
            yield f"  {reason}: {len(cells)} cells"
            for ops, columns in _grouped(cells).items():
                yield from _wrapped(f"{', '.join(columns)}: {' '.join(ops)}")
        yield ""
        for cell in self.findings:
            yield f"FOUND  {cell.op} / {cell.column}: {cell.reason}"
        yield (
            f"{len(names)} ops x {len(LAWS)} laws x {len(MUTANTS)} mutants: "
            f"{self.count('passed')} cells passed, {self.count('failed')} failed; mutants: "
            f"{self.count('killed')} killed, {self.count('equivalent')} equivalent, "
            f"{self.count('survived')} survived; {self.count('exempt')} cells exempt."
        )


def sampled(op: Op, choice: Choice = "sampled") -> list[Mutant]:
    """The mutants to try on an op. Each op has another sample, so that all of them serve."""
    mutants = list(MUTANTS.values())
    if choice == "all":
        return mutants
    if choice == "none":
        return []
    first = zlib.crc32(op.name.encode())
    fitting = [mutant for mutant in mutants if mutant.reason(op) is None]
    n, tried = len(fitting), min(SAMPLE, len(fitting))
    return [fitting[(first + i * n // tried) % n] for i in range(tried)]


def law_cell(op: Op, law: Law, examples: int) -> Cell:
    """One op under one law."""
    reason = law.reason(op)
    if reason is not None:
        return Cell(op.name, law.name, "exempt", reason)
    try:
        judged = check_law(op, law, examples)
    except LawError as error:
        return Cell(op.name, law.name, "failed", str(error))
    if not judged:
        return Cell(op.name, law.name, "failed", "no call that was drawn says anything")
    return Cell(op.name, law.name, "passed")


def mutant_cell(op: Op, mutant: Mutant, examples: int) -> Cell:
    """One op with one mistake in it."""
    verdict = judge(op, mutant, examples)
    return Cell(op.name, mutant.name, verdict.fate, verdict.reason)


def matrix(names: Sequence[str] = (), *, examples: int = 12, mutants: Choice = "sampled") -> Report:
    """The report on the ops `names`, or on all of them."""
    catalogue = load()
    report = Report()
    for name in names or catalogue:
        op = catalogue[name]
        report.cells += [law_cell(op, law, examples) for law in LAWS.values()]
        report.cells += [mutant_cell(op, mutant, examples) for mutant in sampled(op, mutants)]
    return report


# ---- printing ------------------------------------------------------------------------------------


def _legend(columns: Sequence[str]) -> Iterator[str]:
    yield "+ passed   k killed   = equivalent   . exempt   X failed or survived   (blank) not run"
    for i, column in enumerate(columns, 1):
        law = LAWS.get(column)
        words = (law.check.__doc__ or "").split("\n\n")[0].split() if law else []
        yield f"{i:3} {column}{': ' if words else ''}{' '.join(words)}"


def _column_numbers(n: int) -> list[str]:
    """1 ... n, written downwards."""
    return ["".join(f"{i:2}"[row] for i in range(1, n + 1)) for row in range(2)]


def _spaced(row: str) -> str:
    """In groups of five."""
    return " ".join(row[i : i + 5] for i in range(0, len(row), 5))


def _by_reason(cells: Iterable[Cell], fates: Sequence[str]) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.fate in fates:
            found[cell.reason].append(cell)
    return found


def _grouped(cells: Iterable[Cell]) -> dict[tuple[str, ...], list[str]]:
    """The columns of every set of ops."""
    ops: dict[str, list[str]] = defaultdict(list)
    for cell in cells:
        ops[cell.column].append(cell.op)
    columns: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for column, names in ops.items():
        columns[tuple(names)].append(column)
    return columns


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent=" " * 6, subsequent_indent=" " * 10)
