"""Molecules as text: SMILES read, and whether the valences of their atoms can be."""

from tinygen.data.molecules.smiles import Atom, Bond, Molecule, parse
from tinygen.data.molecules.valence import is_valid, require_valid

__all__ = ["Atom", "Bond", "Molecule", "is_valid", "parse", "require_valid"]
