"""Molecules as text: SMILES read, and whether the valences of their atoms can be; SELFIES."""

from tinygen.data.molecules.selfies import corpus_in_selfies, smiles_of
from tinygen.data.molecules.smiles import Atom, Bond, Molecule, parse
from tinygen.data.molecules.valence import is_valid, require_valid

__all__ = [
    "Atom",
    "Bond",
    "Molecule",
    "corpus_in_selfies",
    "is_valid",
    "parse",
    "require_valid",
    "smiles_of",
]
