"""SMILES (Weininger 1988; the grammar of opensmiles.org, version 1.0): a molecule as one line.

Atoms are written one after the other with a bond between neighbours; brackets hold what is unusual
of an atom, parentheses a branch, and two equal digits the ends of a bond that closes a ring. Lower
case letters are atoms of aromatic rings. Chirality, isotopes and the directions of double bonds are
read over: no valence depends on them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tinygen.errors import InputError

SINGLE, DOUBLE, TRIPLE, QUADRUPLE, AROMATIC = 1.0, 2.0, 3.0, 4.0, 1.5
ORDERS = {"-": SINGLE, "=": DOUBLE, "#": TRIPLE, "$": QUADRUPLE, ":": AROMATIC}

DIRECTIONS = "/\\"
"""Bonds that say where a double bond's neighbours lie, and are what they would be unwritten."""

ELEMENTS = frozenset(
    re.findall(
        "[A-Z][a-z]?",
        "HHeLiBeBCNOFNeNaMgAlSiPSClArKCaScTiVCrMnFeCoNiCuZnGaGeAsSeBrKrRbSrYZrNbMoTcRuRhPdAgCdIn"
        "SnSbTeIXeCsBaLaCePrNdPmSmEuGdTbDyHoErTmYbLuHfTaWReOsIrPtAuHgTlPbBiPoAtRnFrRaAcThPaUNpPu"
        "AmCmBkCfEsFmMdNoLrRfDbSgBhHsMtDsRgCnNhFlMcLvTsOg",
    )
)

_ORGANIC = r"Br|Cl|[BCNOPSFI]|[bcnops]"
_BRACKET = (
    r"\[(?P<isotope>\d*)(?P<symbol>[A-Z][a-z]?|se|as|[bcnops])(?P<chiral>@@?)?"
    r"(?:H(?P<hydrogens>\d?))?(?P<charge>[+-]\d|\++|-+)?(?::(?P<label>\d+))?\]"
)
_ATOM = re.compile(rf"(?P<organic>{_ORGANIC})|{_BRACKET}")
_RING = re.compile(r"%\d\d|\d")
_BEGINS = re.compile(r"[A-Za-z[%\d]")


@dataclass
class Atom:
    """`hydrogens` is None where they are as many as the valence leaves free: outside brackets."""

    symbol: str
    aromatic: bool = False
    charge: int = 0
    hydrogens: int | None = None


@dataclass(frozen=True)
class Bond:
    """Between the atoms of two numbers, of order 1, 2, 3, 4, or 1.5 in an aromatic ring."""

    first: int
    second: int
    order: float


@dataclass
class Molecule:
    atoms: list[Atom] = field(default_factory=list)
    bonds: list[Bond] = field(default_factory=list)

    def neighbours(self) -> list[list[Bond]]:
        """The bonds of each atom."""
        found: list[list[Bond]] = [[] for _ in self.atoms]
        for bond in self.bonds:
            found[bond.first].append(bond)
            found[bond.second].append(bond)
        return found


def parse(text: str) -> Molecule:
    """The atoms and bonds of a SMILES. Raises InputError, with the place, for what is none."""
    molecule = Molecule()
    open_rings: dict[str, tuple[int, float | None]] = {}
    branches: list[int] = []
    last: int | None = None  # the atom that a bond begins at
    order: float | None = None  # of the bond that was written
    place = 0

    def wrong(reason: str) -> InputError:
        return InputError(f"{text!r} is no SMILES: {reason} at character {place}")

    def join(first: int, second: int, written: float | None) -> None:
        both = molecule.atoms[first].aromatic and molecule.atoms[second].aromatic
        pair = {first, second}
        if len(pair) < 2 or any({b.first, b.second} == pair for b in molecule.bonds):
            raise wrong("a bond from an atom to itself, or a second one to the same atom")
        if written is None:
            written = AROMATIC if both else SINGLE
        molecule.bonds.append(Bond(first, second, written))

    while place < len(text):
        letter = text[place]
        atom = _ATOM.match(text, place)
        if atom:
            molecule.atoms.append(_atom(atom))
            if molecule.atoms[-1].symbol not in ELEMENTS:
                raise wrong(f"no element {molecule.atoms[-1].symbol}")
            number = len(molecule.atoms) - 1
            if last is not None:
                join(last, number, order)
            elif order is not None:
                raise wrong("a bond that begins at no atom")
            last, order, place = number, None, atom.end()
            continue
        ring = _RING.match(text, place)
        if ring:
            if last is None:
                raise wrong("a ring that begins at no atom")
            key = ring[0].removeprefix("%").lstrip("0") or "0"
            if key in open_rings:
                start, before = open_rings.pop(key)
                if before is not None and order is not None and before != order:
                    raise wrong("the two ends of a ring's bond differ")
                join(start, last, order if before is None else before)
            else:
                open_rings[key] = (last, order)
            order, place = None, ring.end()
            continue
        if letter in ORDERS and order is None:
            order = ORDERS[letter]
        elif letter in DIRECTIONS and order is None and last is not None:
            if not _BEGINS.match(text, place + 1):
                raise wrong(f"{letter!r} before no atom")
        elif letter == "(" and last is not None and order is None:
            branches.append(last)
        elif letter == ")" and branches and order is None and text[place - 1] != "(":
            last = branches.pop()
        elif letter == "." and last is not None and order is None and not branches:
            last = None
        else:
            raise wrong(f"{letter!r} cannot stand")
        place += 1
    if branches or open_rings or order is not None or last is None:
        raise wrong("a branch, a ring or a bond is left open, or there is nothing,")
    return molecule


def _atom(found: re.Match[str]) -> Atom:
    if found["organic"]:
        symbol = found["organic"]
        return Atom(symbol.capitalize(), symbol.islower())
    symbol, charge = found["symbol"], found["charge"] or ""
    if charge[1:].isdigit():
        charged = int(charge)
    else:
        charged = len(charge) if charge.startswith("+") else -len(charge)
    hydrogens = 0 if found["hydrogens"] is None else int(found["hydrogens"] or 1)
    return Atom(symbol.capitalize(), symbol.islower(), charged, hydrogens)
