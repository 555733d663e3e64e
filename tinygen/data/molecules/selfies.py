"""SELFIES (Krenn et al. 2020, doi:10.1088/2632-2153/aba947): a notation in which every sequence of
symbols is a molecule, because what its bonds cannot carry is read over. By the package `selfies`.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import replace
from typing import Any

from tinygen.data.corpus import Corpus, decode_utf8
from tinygen.errors import InputError, UnavailableError

_SYMBOL = re.compile(r"\[[^\[\]\n]*\]|\.")
"""Of a line of SELFIES; a dot stands between molecules."""


def corpus_in_selfies(corpus: Corpus) -> Corpus:
    """The corpus with each line, a SMILES, as SELFIES. Lines that have none are skipped, and told.
    Raises InputError where there is none that has, UnavailableError without the package."""
    package, documents, skipped = _package(), [], list(corpus.skipped)
    for document in corpus.documents:
        lines = []
        for number, line in enumerate(decode_utf8(document, corpus.name).splitlines(), start=1):
            try:
                if line.strip():
                    lines.append(package.encoder(line.strip()))
            except package.EncoderError:
                skipped.append(f"line {number}: {line} has no SELFIES")
        if lines:
            documents.append("".join(f"{line}\n" for line in lines).encode())
    if not documents:
        raise InputError(
            f"{corpus.name}: no line is a SMILES, of which --data.notation selfies makes SELFIES"
        )
    return replace(corpus, documents=tuple(documents), skipped=tuple(skipped))


def smiles_of(line: str) -> str:
    """The molecule of a line of SELFIES as SMILES. What is no whole symbol, such as one that a
    text was cut off in, and what the package does not know, is left out: the rest is a molecule.
    """
    package = _package()
    symbols = _SYMBOL.findall(line)
    try:
        found: str = package.decoder("".join(symbols))
    except package.DecoderError:
        found = package.decoder("".join(s for s in symbols if _known(package, s)))
    return found


def _known(package: Any, symbol: str) -> bool:
    try:
        package.decoder(symbol)
    except package.DecoderError:
        return False
    return True


def _package() -> Any:
    try:
        return importlib.import_module("selfies")
    except ImportError as error:
        raise UnavailableError(
            "SELFIES need the package selfies: pip install 'tinygen[molecules]'"
        ) from error
