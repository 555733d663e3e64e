"""Whether a molecule's bonds can be: every atom has a valence that its element allows, and the
double bonds of aromatic rings can be placed (Kekule).

What is checked is what makes most texts invalid. Limits: elements outside the table, such as
metals, may have any bonds; a ring is believed to be aromatic where its double bonds can be placed,
without counting electrons, and a chain between two rings may be written as aromatic; nothing is
said of strain or stability.
"""

from __future__ import annotations

from tinygen.data.molecules.smiles import AROMATIC, Bond, Molecule, parse
from tinygen.errors import InputError

VALENCES: dict[str, tuple[int, ...]] = {
    "H": (1,), "B": (3,), "C": (4,), "N": (3,), "O": (2,), "F": (1,), "Si": (4,), "P": (3, 5),
    "S": (2, 4, 6), "Cl": (1,), "As": (3, 5), "Se": (2, 4, 6), "Br": (1,), "I": (1, 3, 5),
}  # fmt: skip
"""By element, from the least, without charge."""

PERIODS = ("B C N O F", "Si P S Cl", "As Se Br", "I")
"""Elements in the order of their electrons: a positive ion has the valences of the one before it,
a negative one of the one after it."""


def is_valid(text: str) -> bool:
    """Whether a text is the SMILES of a molecule that can be."""
    try:
        require_valid(text)
    except InputError:
        return False
    return True


def require_valid(text: str) -> Molecule:
    """The molecule of a SMILES; InputError says why there is none."""
    molecule = parse(text)
    neighbours = molecule.neighbours()
    needy = set()  # aromatic atoms that take part in a double bond of their ring
    rings = _atoms_of_rings(molecule, neighbours)
    for number, atom in enumerate(molecule.atoms):
        if atom.aromatic and number not in rings:
            raise InputError(f"{text!r}: an aromatic {atom.symbol} is in no ring")
        allowed = _valences(atom.symbol, atom.charge)
        if allowed is None:
            continue
        bonds = neighbours[number]
        taken = sum(1 if bond.order == AROMATIC else int(bond.order) for bond in bonds)
        taken += atom.hydrogens or 0
        most = max(allowed, default=0)
        if taken > most:
            raise InputError(
                f"{text!r}: {atom.symbol} (atom {number + 1}) has {taken} bonds and charge "
                f"{atom.charge:+d}, and at most {most} can be"
            )
        if atom.aromatic and _takes_double_bond(atom.symbol, atom.hydrogens, taken, allowed):
            needy.add(number)
    if not _kekule(needy, [b for b in molecule.bonds if b.order == AROMATIC]):
        raise InputError(f"{text!r}: the double bonds of its aromatic rings cannot be placed")
    return molecule


def _valences(symbol: str, charge: int) -> tuple[int, ...] | None:
    """Those of the element as many places before it as it has lost electrons; None if unknown."""
    if symbol == "H":
        return (1,) if charge == 0 else (0,)
    for elements in map(str.split, PERIODS):
        if symbol in elements:
            place = elements.index(symbol) - charge
            if charge == 0:
                return VALENCES[symbol]
            if place >= len(elements):
                return (0,) if place == len(elements) else ()
            return VALENCES[elements[place]] if place >= 0 else (max(0, 3 + place),)
    return None


def _takes_double_bond(
    symbol: str, hydrogens: int | None, taken: int, allowed: tuple[int, ...]
) -> bool:
    """Whether an aromatic atom with so many bonds, each counted once, has one to give: a carbon
    whose hydrogens are not told always, unless it is full, any other where that completes it. So
    oxygen, sulphur and a nitrogen with three neighbours give a pair of electrons instead."""
    if symbol == "C" and hydrogens is None:
        return taken < max(allowed)
    return taken not in allowed and taken + 1 in allowed


def _atoms_of_rings(molecule: Molecule, neighbours: list[list[Bond]]) -> set[int]:
    """Atoms of rings, or on the way from one to another: what is left when whatever hangs by one
    bond is taken off, again and again."""
    degree = [len(bonds) for bonds in neighbours]
    waiting = [i for i, n in enumerate(degree) if n < 2]
    gone = set(waiting)
    while waiting:
        number = waiting.pop()
        for bond in neighbours[number]:
            other = bond.second if bond.first == number else bond.first
            if other not in gone:
                degree[other] -= 1
                if degree[other] < 2:
                    gone.add(other)
                    waiting.append(other)
    return set(range(len(degree))) - gone


def _kekule(needy: set[int], bonds: list[Bond]) -> bool:
    """Whether every needy atom can share a double bond with exactly one needy neighbour: a perfect
    matching, by trying the atom with the fewest choices first."""
    beside: dict[int, set[int]] = {number: set() for number in needy}
    for bond in bonds:
        if bond.first in needy and bond.second in needy:
            beside[bond.first].add(bond.second)
            beside[bond.second].add(bond.first)

    def matched(left: frozenset[int]) -> bool:
        if not left:
            return True
        number = min(left, key=lambda i: len(beside[i] & left))
        return any(matched(left - {number, other}) for other in beside[number] & left)

    return matched(frozenset(needy))
