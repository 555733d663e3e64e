"""Lines that a model wrote, such as names or molecules: how many are new, and can be.

valid    of all lines, those that are molecules (where the training lines are)
unique   of these, the different ones
novel    of the different ones, those that the training lines have not
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tinygen.data.molecules import is_valid
from tinygen.errors import InputError


def are_molecules(lines: Sequence[str], looked_at: int = 200) -> bool:
    """Whether nearly all of the first lines are the SMILES of molecules of several atoms."""
    first = lines[:looked_at]
    fit = sum(len(line) > 4 and is_valid(line) for line in first)
    return bool(first) and fit >= 0.95 * len(first)


def judge_lines(
    lines: Sequence[str], training: Collection[str], *, molecules: bool = False
) -> dict[str, float]:
    """Shares of valid (molecules only), unique and novel lines; InputError without any."""
    if not lines:
        raise InputError("there is no line to judge; draw more text")
    found: dict[str, float] = {}
    kept = list(lines)
    if molecules:
        kept = [line for line in lines if line and is_valid(line)]
        found["valid"] = len(kept) / len(lines)
    different = set(kept)
    found["unique"] = len(different) / max(1, len(kept))
    found["novel"] = len(different - set(training)) / max(1, len(different))
    return found
